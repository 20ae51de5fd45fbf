"""Render HTML pages from the Jinja2 templates in ``common/templates``, with embedded pictures."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Render a template of ``common/templates``; values are escaped unless they are marked safe.

    Args:
        template: name of the file, such as ``comparison.html.j2``.
        values: the template's variables.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # imported late: takes a tenth of a second

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # keys keep their order, in which pages show them
    return environment.get_template(template).render(values)


def base64_picture(picture: Image.Image, kind: str, **settings: Any) -> str:
    """Encode a picture and return its bytes in base64.

    Args:
        picture: any Pillow image.
        kind: Pillow's name of the format, such as ``png`` or ``jpeg``.
        settings: Pillow's settings for the format, such as ``quality``.
    """
    stream = io.BytesIO()
    picture.save(stream, kind, **settings)
    return base64.b64encode(stream.getvalue()).decode()
