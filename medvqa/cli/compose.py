"""`medvqa compose`: a text model and an image tower as one model that sees."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from medvqa.cli.opening import quieten_libraries
from medvqa.models.compose.building import compose
from medvqa.models.compose.configuration import Bridge
from medvqa.models.compose.processing import Placement
from medvqa.types import NOT_FOR_DIAGNOSIS

_Named: TypeAlias = Literal["mlp", "qformer", "gated-cross-attention"]
_BRIDGES: dict[_Named, Bridge] = {
    "mlp": "mlp",
    "qformer": "qformer",
    "gated-cross-attention": "gated_cross_attention",
}


def compose_model(
    *,
    llm: Annotated[str, typer.Option(help="Folder or hub name of a text model.")],
    vision: Annotated[str, typer.Option(help="Folder or hub name of a CLIP, SigLIP, ViT, MobileViT, ...")],
    out: Annotated[Path, typer.Option(help="Folder to write; new or empty.")],
    bridge: Annotated[_Named, typer.Option(help="What joins them, and is trained later.")] = "mlp",
    images: Annotated[
        Placement, typer.Option(help="Where images stand: where a message has them, or before all text.")
    ] = "interleaved",
    seed: Annotated[int, typer.Option(min=0, help="Of the bridge's first weights.")] = 0,
) -> None:
    """Give a text model sight: its weights and an image tower's, both unchanged, and a bridge to train.

    Example: medvqa compose --llm tencent/Youtu-LLM-2B --vision google/siglip-base-patch16-224 --out seeing

    Until it is trained the model knows nothing of images: go on with medvqa align, then medvqa tune.
    """
    quieten_libraries()
    compose(llm, vision, out, bridge=_BRIDGES[bridge], placement=images, seed=seed)
    typer.echo(f"wrote {out}; its bridge is untrained")
    typer.echo(f"train it with: medvqa align {out} --cases CASES --out ALIGNED")
    typer.echo(NOT_FOR_DIAGNOSIS)
