"""The lowest floor: errors, records, settings, tables, pages and files, which all other rooms may import."""
