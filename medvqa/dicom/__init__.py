"""DICOM in: where files lie, what one header says, one frame's values, and the order of frames."""
