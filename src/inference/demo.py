"""A local page that classifies an image, and shows what in it speaks for the class.

Shapes: B = 1 image, H rows, W columns, C channels, K classes.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from src.callbacks.image_grid import image_grid
from src.callbacks.log_image import pixels
from src.data.image_spec import center
from src.data.storage.decode import MAX_PIXELS
from src.errors import UserError, first_line, optional_package
from src.inference.decoded_files import decoded_batches
from src.inference.image_classifier import ImageClassifier
from src.models.class_activation import class_activation_maps

SHOWN_CLASSES = 5


class Explained(NamedTuple):
    """An image with its classes."""

    probabilities: dict[str, float]  # by the names of the classes
    figure_HWC: Any  # the image as the network sees it, and with its class-activation map if there is one


def explain(classifier: ImageClassifier, path: str) -> Explained:
    """Classifies an image file as `predict` does.

    Raises:
        UserError: if it cannot be decoded.
    """
    spec = classifier.spec
    batch = next(decoded_batches([path], spec, MAX_PIXELS, None, batch_size=1, num_workers=0))
    if batch.bad:
        raise UserError(batch.bad[0][1])
    with torch.inference_mode():
        probabilities_K = classifier.of_resized(batch.images_BSSC)[0]
    best_B = probabilities_K.argmax()[None]
    inputs_BCHW = classifier.preprocessing.normalized(batch.images_BSSC)
    map_BHW = class_activation_maps(classifier.net, inputs_BCHW, best_B)
    seen_BHWC = center(batch.images_BSSC.permute(0, 3, 1, 2), spec.size).permute(0, 2, 3, 1)
    texts, maps_BHW = ["the image"], torch.zeros(1, *spec.size)
    if map_BHW is not None:
        texts, maps_BHW = [*texts, f"why {spec.classes[int(best_B)]}"], torch.cat([maps_BHW, map_BHW])
    figure = image_grid(seen_BHWC.expand(len(texts), -1, -1, -1), texts, columns=2, maps_NHW=maps_BHW)
    return Explained(dict(zip(spec.classes, probabilities_K.tolist(), strict=True)), pixels(figure))


def serve(classifier: ImageClassifier, title: str, host: str, port: int, max_upload: int) -> None:
    """Serves the page until the process is interrupted. A file of at most `max_upload` MB is taken, and deleted when it
    has been classified. Raises UserError if gradio is not installed, or the port is not free."""
    with tempfile.TemporaryDirectory() as folder:
        # Read when gradio is imported: where uploads are, and no message to its makers.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        gradio = optional_package("gradio", "demo")
        try:
            page = _page(gradio, classifier, title)
            page.launch(
                prevent_thread_lock=True,
                server_name=host,
                server_port=port,
                max_file_size=max_upload * 2**20,
                run_history=False,  # which would keep the images in the browser
                footer_links=[],
                ssr_mode=False,
                theme=gradio.themes.Default(font="sans-serif", font_mono="monospace"),  # no fonts of another host
                quiet=True,
            )
            print(f"http://{host}:{port}", flush=True)
            page.block_thread()
        except OSError as error:
            raise UserError(f"demo cannot listen on {host}:{port}: {first_line(error)}") from error


def _page(gradio: Any, classifier: ImageClassifier, title: str) -> Any:
    def show(path: str) -> tuple[None, dict[str, float], str]:
        try:
            explained = explain(classifier, path)
        except UserError as error:
            raise gradio.Error(f"The image cannot be read: {error}", print_exception=False) from error
        finally:
            shutil.rmtree(Path(path).parent)
        return None, explained.probabilities, _as_html(explained)

    spec = classifier.spec
    label = f"Classes; an image has those of {spec.threshold:.0%} and more" if spec.multi_label else "Classes"
    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(60, 60)) as page:
        gradio.Markdown(f"# {title}")
        file = gradio.File(label="Drop an image")
        with gradio.Row():
            classes = gradio.Label(label=label, num_top_classes=SHOWN_CLASSES)
            figure = gradio.HTML()
        file.upload(show, file, [file, classes, figure], api_visibility="private")
    return page


def _as_html(explained: Explained) -> str:
    file = io.BytesIO()
    Image.fromarray(explained.figure_HWC).save(file, "png")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="The image, and its class-activation map" src="data:image/png;base64,{data}">'
