"""One stored frame, decoded to modality values or RGB, with the digests that pin it down."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.pixels.utils import as_pixel_options

from medvqa.dicom.codestreams import read_stream_size
from medvqa.dicom.headers import (
    Header,
    frame_attributes,
    read_header,
    read_modality,
    read_numbers,
    read_voi_lut,
    read_windows,
)
from medvqa.dicom.instances import Instance, read_place
from medvqa.dicom.luts import apply_lookup_table, read_lookup_table
from medvqa.dicom.orientation import read_edges, read_laterality
from medvqa.dicom.sources import UNREADABLE, Limits
from medvqa.digests import digest_pixels
from medvqa.errors import PixelError
from medvqa.types import Applied, Frame, ImageRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A JPEG 2000 decoder undoes these itself, whatever the header goes on saying.
_UNDONE_BY_DECODER = frozenset({"YBR_RCT", "YBR_ICT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInstance:
    """An instance whose header is at hand, so that its frames can be decoded one after the other."""

    instance: Instance
    header: Header
    content: bytes | None
    """Of a file that lies in an archive or was deflated; a plain file is read from where it lies."""
    file_sha256: str


def open_instance(instance: Instance, *, limits: Limits) -> OpenInstance:
    """Open an instance for decoding.

    Raises:
        PixelError: If the file is gone or no longer what it was when the study was read.
    """
    source = instance.source
    try:
        digest = source.sha256()
        with source.open(limits=limits) as stream:
            header = read_header(stream)
            content = stream.getvalue() if isinstance(stream, BytesIO) else None
    except (*UNREADABLE, ValueError, KeyError, AttributeError) as error:
        raise PixelError(f"{source.name} can no longer be read; read the study again") from error
    if header.pixel_keyword is None:
        raise PixelError(f"{source.name} has lost its pixel data (7FE0,0010); read the study again")
    return OpenInstance(instance=instance, header=header, content=content, file_sha256=digest)


def decode_frame(opened: OpenInstance, frame_number: int) -> Frame:
    """Decode one frame to modality values or RGB; the other frames are not decoded.

    Args:
        opened: From `open_instance`.
        frame_number: From 1.

    Returns:
        A frame whose `values` are float32 (rows, columns) after Modality LUT or rescale, MONOCHROME1 not
        inverted, or uint8 (rows, columns, 3) in RGB.

    Raises:
        PixelError: If the pixel data cannot be decoded or mean nothing that we know.

    Reference: DICOM PS3.3 C.11.1 (modality), C.7.6.3.1.2 (photometric interpretation).
    """
    instance, header = opened.instance, opened.header
    name = instance.source.name
    flat = frame_attributes(header.dataset, frame_number)
    try:
        stored, photometric = _decode_stored(opened, frame_number)
        if stored.ndim == 3 or photometric == "PALETTE COLOR":
            values, applied = _to_rgb(stored, flat, photometric=photometric)
            photometric = "RGB"
        else:
            values, applied = to_modality_values(stored, flat)
            photometric = "MONOCHROME1" if photometric == "MONOCHROME1" else "MONOCHROME2"
    except Exception as error:  # decoders raise whatever a broken stream makes of them
        compressed = header.transfer_syntax.is_compressed
        cause = "damaged, or encoded as no decoder here can read" if compressed else "damaged or incomplete"
        way_out = "without compression" if compressed else "from where it came"
        raise PixelError(
            f"the pixel data (7FE0,0010) of {name} cannot be decoded (frame {frame_number},"
            f" {header.transfer_syntax.name}): they are {cause}; export the file again {way_out}"
        ) from error
    values.setflags(write=False)
    position, orientation = read_place(flat, frames=len(instance.places))
    gray = photometric != "RGB"
    spacing = read_numbers(flat, "PixelSpacing", count=2)
    return Frame(
        ref=ImageRef(
            study_instance_uid=instance.study_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_instance_uid=instance.sop_instance_uid,
            frame_number=frame_number,
            pixel_sha256=digest_pixels(stored),
            file_sha256=opened.file_sha256,
        ),
        modality=read_modality(flat),
        photometric_interpretation=photometric,
        values=values,
        windows=read_windows(flat) if gray else (),
        voi_lut=read_voi_lut(flat) if gray else None,
        padding=_read_padding(flat) if gray else None,
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        orientation=orientation,
        position=position,
        edges=read_edges(flat, orientation),
        laterality=read_laterality(flat),
        applied=applied,
    )


def to_modality_values(
    stored: NDArray[Any], flat: Dataset
) -> tuple[NDArray[np.float32], tuple[Applied, ...]]:
    """Apply the Modality LUT, or Rescale Slope and Intercept, of one frame.

    Args:
        stored: Stored values, any shape.
        flat: From `frame_attributes`.

    Returns:
        Modality values (Hounsfield units for CT), and what was applied. A slope of 0 is ignored, as it
        would erase the image; an absent intercept is 0.

    Reference: DICOM PS3.3 C.11.1.
    """
    tables = list(flat.get("ModalityLUTSequence") or ())
    table = read_lookup_table(tables[0], flat) if tables else None
    if table is not None:
        parameters = {"first_mapped": table.first_mapped, "bits": table.bits, "entries": len(table.entries)}
        values = apply_lookup_table(stored, table).astype(np.float32)
        return values, (Applied(name="ModalityLUT", parameters=parameters),)
    slope = read_numbers(flat, "RescaleSlope", count=1) or (0.0,)
    intercept = read_numbers(flat, "RescaleIntercept", count=1) or (0.0,)
    if slope[0] == 0:
        return stored.astype(np.float32), ()
    parameters = {"slope": slope[0], "intercept": intercept[0]}
    values = (stored.astype(np.float64) * slope[0] + intercept[0]).astype(np.float32)
    return values, (Applied(name="Rescale", parameters=parameters),)


def _decode_stored(opened: OpenInstance, frame_number: int) -> tuple[NDArray[Any], str]:
    """Return the stored frame, (rows, columns) or (rows, columns, 3), and what its samples now mean."""
    header = opened.header
    options = as_pixel_options(
        header.dataset,
        transfer_syntax_uid=header.transfer_syntax,
        pixel_keyword=header.pixel_keyword,
        **({"pixel_vr": header.pixel_vr} if header.pixel_vr else {}),
    )
    decoder = get_decoder(header.transfer_syntax)
    content = opened.content
    with opened.instance.source.path.open("rb") if content is None else BytesIO(content) as stream:
        stream.seek(header.pixel_offset)
        if header.transfer_syntax.is_encapsulated:
            _check_stream_size(stream, index=frame_number - 1, options=options)
        stored, properties = decoder.as_array(stream, index=frame_number - 1, raw=True, **options)
    photometric = str(properties["photometric_interpretation"])
    return stored, "RGB" if photometric in _UNDONE_BY_DECODER else photometric


def _check_stream_size(stream: BinaryIO, *, index: int, options: dict[str, Any]) -> None:
    frame = get_frame(
        stream,
        index,
        extended_offsets=options.get("extended_offsets"),
        number_of_frames=options["number_of_frames"],
    )
    claimed, stated = read_stream_size(frame), (options["rows"], options["columns"])
    if claimed is not None and claimed != stated:
        raise ValueError(f"the stream claims {claimed} rows and columns, the header {stated}")


def _to_rgb(
    stored: NDArray[Any], flat: Dataset, *, photometric: str
) -> tuple[NDArray[np.uint8], tuple[Applied, ...]]:
    if photometric == "PALETTE COLOR":
        colors = apply_color_lut(stored, flat)[..., :3]
        bits = colors.dtype.itemsize * 8
    else:
        current = photometric if photometric.startswith("YBR") else "RGB"
        colors = stored if current == "RGB" else convert_color_space(stored, current, "RGB")
        bits = int(flat.get("BitsStored") or stored.dtype.itemsize * 8)
    applied = (Applied(name="ToRGB", parameters={"from": photometric, "bits": bits}),)
    if colors.dtype == np.uint8 and bits == 8:
        return colors.copy(), applied
    scaled = np.clip(colors.astype(np.float64) * (255 / (2**bits - 1)), 0, 255)
    return np.rint(scaled).astype(np.uint8), applied


def _read_padding(flat: Dataset) -> tuple[float, float] | None:
    """Return the range of modality values that only pad, both ends included (PS3.3 C.7.5.1.1.2)."""
    value = read_numbers(flat, "PixelPaddingValue", count=1)
    if value is None:
        return None
    limit = read_numbers(flat, "PixelPaddingRangeLimit", count=1) or value
    ends, _ = to_modality_values(np.array([value[0], limit[0]]), flat)
    return float(ends.min()), float(ends.max())
