"""Maps to MRD images, DICOM, NIfTI and the report page."""
