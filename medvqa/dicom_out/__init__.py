"""Results that a PACS shows: answers, heatmaps and what was found, as DICOM objects of the study."""

from medvqa.dicom_out.objects import FORMS, DicomObject, Form, describe_objects, make_objects

__all__ = ["FORMS", "DicomObject", "Form", "describe_objects", "make_objects"]
