"""Write masks: NIfTI on the CT's own grid, and DICOM-SEG for a DICOM series."""

import math
import warnings
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from lits_seg import __version__
from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.common.ownership import description
from lits_seg.data.ct import Ct
from lits_seg.data.dicom_slice import CT_IMAGE

# Attributes that a segmentation needs from its CT, but that may be empty.
PATIENT_AND_STUDY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
PATIENT_GROUPS = (0x0010, 0x0012)  # a segmentation also copies these, if they are present
# Texts in a NIfTI header; some converters write comments about the patient there.
FREE_TEXTS = ("data_type", "db_name", "aux_file", "intent_name")


def write_nifti(path: Path, array: np.ndarray, ct: Ct, slope: float = 1.0) -> None:
    """Write an array on the CT's grid as ``.nii.gz``.

    The affine equals the CT's bit by bit, since the transforms in the CT's header are copied; its texts are not.

    Args:
        path: the file to write.
        array: ``(X, Y, Z)`` uint8, in the order of the CT's file.
        ct: the CT.
        slope: scale of the stored values; a voxel's value is the stored value x ``slope``.
    """
    if ct.header is None:
        image = nib.Nifti1Image(array, ct.affine)
        image.header.set_xyzt_units("mm")
    else:
        header = ct.header.copy()
        header.set_data_dtype(np.uint8)
        header.extensions.clear()  # extensions and texts describe the CT and may identify the patient
        for name in FREE_TEXTS:
            if name in header:  # NIfTI-2 has fewer
                header[name] = b""
        kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        image = kind(array, None, header)
    checksum = 0
    for number in range(array.shape[-1]):
        checksum = zlib.crc32(array[..., number].tobytes("F"), checksum)
    image.header["descrip"] = description(checksum)
    image.header["cal_min"] = image.header["cal_max"] = 0
    image.header.set_slope_inter(slope, 0)
    with igzip.open(path, "wb") as file:
        image.to_stream(file)


def write_dicom_seg(path: Path, mask: np.ndarray, ct: Ct) -> list[str]:
    """Write a mask of a DICOM series as DICOM-SEG, with a binary segment for each label in the mask.

    Segments do not overlap: *Liver* (label 1) excludes the lesions, *Lesion* is label 2.

    Args:
        path: the file to write.
        mask: LiTS labels ``(X, Y, Z)``, in the order of the series.
        ct: the DICOM series.

    Returns:
        A warning, if values of the series are not valid DICOM and were left out.

    Raises:
        InputError: if highdicom is not installed, or if the series lacks attributes that a segmentation requires.
    """
    try:
        import highdicom as hd
        from pydicom.sr.codedict import codes
    except ImportError as error:
        needed = f"highdicom to write DICOM-SEG ({install('dicom')})"
        raise InputError(ct.path, needed, "not installed") from error
    warnings.filterwarnings("ignore", module="highdicom")  # advice to programmers, which shows the patient's name
    gap = float(np.linalg.norm(ct.affine[:3, 2]))
    slices = [_source(file, gap) for file in ct.series]
    if len({header.SOPInstanceUID for header in slices}) < len(slices):
        raise InputError(ct.path, "a SOPInstanceUID of each slice, to which a DICOM-SEG refers", "the same in several")
    invalid = _leave_out_invalid(slices[0])
    present = [value for value in (1, 2) if (mask == value).any()] or [2]
    names = {1: ("Liver", codes.SCT.AnatomicalStructure, codes.SCT.Liver), 2: ("Lesion", *_lesion_codes(codes))}
    algorithm = hd.AlgorithmIdentificationSequence(
        name="lits_seg", version=__version__, family=codes.DCM.ArtificialIntelligence
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=names[value][0],
            segmented_property_category=names[value][1],
            segmented_property_type=names[value][2],
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, value in enumerate(present, start=1)
    ]
    frames = np.zeros((mask.shape[2], mask.shape[1], mask.shape[0]), np.uint8)
    for number, value in enumerate(present, start=1):
        frames[(mask == value).transpose(2, 1, 0)] = number
    try:
        dataset = hd.seg.Segmentation(
            source_images=slices,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=900,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="lits_seg",
            manufacturer_model_name="lits_seg",
            software_versions=__version__,
            device_serial_number="0",
            content_description="Research use only",
            content_label="LIVER_LESIONS",
            series_description="lits_seg, research use only",
            omit_empty_frames=bool((mask > 0).any()),
        )
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        raise InputError(ct.path, "a DICOM series that a DICOM-SEG can refer to", error) from error
    dataset.save_as(path)
    left_out = f"{path.name}: values that are not valid DICOM were left out: {', '.join(invalid)}"
    return [left_out] if invalid else []


def _lesion_codes(codes: Any) -> tuple[Any, Any]:
    return codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion


def _source(path: Path, gap: float) -> Any:
    """Read the header of a slice, and fill required attributes that an anonymiser may have removed.

    Missing identifiers are read from the file's meta header, or generated from the identifier of the series. Therefore
    generated identifiers are the same for all slices and in every call.

    Args:
        path: the file.
        gap: distance to the next slice in mm, which replaces a missing slice thickness.
    """
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    header.SOPClassUID = header.get("SOPClassUID") or CT_IMAGE
    header.SOPInstanceUID = header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID")
    if not header.SOPInstanceUID:
        raise InputError(path, "a SOPInstanceUID, to which a DICOM-SEG refers", "none")
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if not header.get(name):
            generated = pydicom.uid.generate_uid(entropy_srcs=[name, str(header.get("SeriesInstanceUID", ""))])
            setattr(header, name, generated)
    try:
        thickness = float(header.SliceThickness)
    except (AttributeError, TypeError, ValueError):
        thickness = 0.0
    header.SliceThickness = pydicom.valuerep.DSfloat(thickness if 0 < thickness < math.inf else gap, auto_format=True)
    for name in PATIENT_AND_STUDY:
        if name not in header:
            setattr(header, name, "")
    return header


def _leave_out_invalid(header: Any) -> list[str]:
    """Remove or empty invalid values of patient and study in a header, and encode its texts as UTF-8.

    Args:
        header: the header from which a segmentation copies patient and study.

    Returns:
        Names of the attributes.
    """
    import pydicom

    # highdicom rejects valid character sets, such as the usual one of Japanese names.
    header.decode()
    header.SpecificCharacterSet = "ISO_IR 192"
    invalid = []
    for tag in list(header.keys()):
        name = pydicom.datadict.keyword_for_tag(tag)
        if name not in PATIENT_AND_STUDY and tag.group not in PATIENT_GROUPS:
            continue
        try:
            _require_valid(header[tag])
        except (ValueError, TypeError, NotImplementedError):
            invalid.append(name or str(tag))
            del header[tag]
            if name in PATIENT_AND_STUDY:
                setattr(header, name, "")
    return invalid


def _require_valid(element: Any) -> None:
    """Raise ValueError if the value of a DICOM element is not valid."""
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    if element.keyword == "PatientSex" and element.value not in ("M", "F", "O", "", None):
        raise ValueError(element.value)
    for value in element.value if element.VM > 1 else [element.value]:
        if element.VR != "SQ":
            validate_value(element.VR, value, RAISE)
