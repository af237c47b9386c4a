"""The image, with the heatmap over it once that is asked for."""

from typing import cast

import streamlit as st

from medvqa import Answer, Heatmap
from medvqa.heatmaps import overlay
from medvqa.imaging import CT_WINDOWS, to_uint8
from medvqa.types import WindowName
from ui.desk import Desk, Shown
from ui.messages import plain

HEIGHT_PX = 560
"""Of the picture on screen, so that it and its controls fit a laptop without scrolling."""
AUTOMATIC = "automatic"
"""Stands for no window by name: the rule of the modality."""
WINDOWS = (AUTOMATIC, "file", *CT_WINDOWS)


def choose_image(desk: Desk) -> Shown:
    """Draw the controls that choose image and CT window.

    Raises:
        PixelError: If the image cannot be decoded, or not shown in the window chosen.
    """
    count = len(desk.study.images)
    slider, select = st.columns([2, 1])
    number = 1
    if count > 1:
        number = slider.slider("Image", 1, count, count // 2 + 1, key=f"image of {desk.name}")
    window: WindowName | None = None
    if desk.study.images[number - 1].modality == "CT":
        chosen = select.selectbox("CT window", WINDOWS, format_func=_name_window, key="window")
        window = None if chosen == AUTOMATIC else cast("WindowName", chosen)
    with st.spinner("Decoding the image"):
        image = desk.in_window(window).images[number - 1]
    return Shown(image=image, number=number, window=window)


def show_image(shown: Shown, answer: Answer | None) -> None:
    """Draw the image; where `answer` has a heatmap, the controls that lay it over the image too."""
    picture, caption = st.container(), st.container()
    pixels = to_uint8(shown.image)
    if answer is not None and answer.heatmap is not None:
        opacity = choose_opacity(answer.answer_id)
        if opacity is not None:
            if answer.heatmap.grade is None or answer.heatmap.grade.level != "chance":
                pixels = overlay(shown.image, answer.heatmap.values, opacity=opacity)
            st.caption(describe_heatmap(answer.heatmap))
    rows, columns = shown.image.shape
    picture.image(pixels, width=max(1, round(HEIGHT_PX * columns / rows)), output_format="PNG")
    caption.caption(describe_image(shown))


def choose_opacity(answer_id: str) -> float | None:
    """Draw the overlay's switch, off for each new answer, and its opacity; None while it is off."""
    switch, slider = st.columns([1, 2], vertical_alignment="center")
    if not switch.toggle("Heatmap", key=f"overlay of {answer_id}"):
        return None
    return slider.slider("Opacity", 0.0, 1.0, 0.6, 0.05, key="opacity")


def describe_image(shown: Shown) -> str:
    """What is shown, without any attribute of the patient."""
    rows, columns = shown.image.shape
    parts = [shown.image.modality, f"image {shown.number}", f"{rows} x {columns} pixels"]
    if shown.image.pixel_spacing_mm is not None:
        parts.append("{:.2f} x {:.2f} mm each".format(*shown.image.pixel_spacing_mm))
    return ", ".join(parts)


def describe_heatmap(heatmap: Heatmap) -> str:
    """What the colours mean, and how far to trust them."""
    grade = heatmap.grade
    if grade is not None and grade.level == "chance":
        return grade.reason
    rows, columns = heatmap.grid
    parts = [
        f"Explains {plain(heatmap.explained)}. Pale yellow is most, dark red little, bare image nothing.",
        f"It resolves {rows} x {columns} cells, nothing finer, and cannot tell whether the answer is right.",
    ]
    if grade is not None:
        parts.append(f"Grade {grade.level}: {grade.reason}")
    if heatmap.convergence_delta is not None:
        parts.append(f"Completeness error {heatmap.convergence_delta:.1%}; near 0 is good.")
    return " ".join(parts)


def _name_window(name: str) -> str:
    if name not in CT_WINDOWS:
        return "the file's own" if name == "file" else name
    center, width = CT_WINDOWS[name]
    return f"{name.replace('_', ' ')} ({center:g}, {width:g} HU)"
