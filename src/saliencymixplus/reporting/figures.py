"""Write a report's figures, and return the blocks that show them."""

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from saliencymixplus.errors import UserError
from saliencymixplus.files import read_limited, write_atomically
from saliencymixplus.pictures.style import save_figure, svg_bytes
from saliencymixplus.reporting import charts
from saliencymixplus.reporting.document import Picture

FIGURES = "figures"
LARGEST = 32 * 2**20  # bytes of a picture; a grid of samples has a few hundred thousand


class Figures:
    """Writes figures to ``folder``, which will be ``figures/`` beside the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plot(self, figure: Figure, name: str, caption: str) -> Picture:
        """Write a figure as PNG and SVG."""
        self._save(figure, name)
        return Picture(f"{FIGURES}/{name}.png", caption, vector=True)

    def chart(self, chart: charts.Chart, name: str, caption: str) -> list[Picture]:
        """Write a chart, interactive on the page, as PNG and SVG; nothing if it has no panel."""
        if not chart:
            return []
        self._save(charts.draw(chart), name)
        return [Picture(f"{FIGURES}/{name}.png", caption, True, charts.to_json(chart))]

    def copy(self, source: Path, name: str, caption: str) -> list[Picture]:
        """Copy a PNG from a run or an audit; nothing if it does not exist.

        Raises:
            UserError: the file is not a PNG, or too large for a page.
        """
        if not source.is_file():
            return []
        content = read_limited(source, LARGEST)
        try:
            Image.open(io.BytesIO(content), formats=["PNG"]).close()
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(f"{source} is not a PNG picture: remove it") from error
        write_atomically(self.folder / name, lambda part: part.write_bytes(content))
        return [Picture(f"{FIGURES}/{name}", caption)]

    def _save(self, figure: Figure, name: str) -> None:
        save_figure(figure, self.folder / f"{name}.png")
        figure.set_layout_engine("none")  # it is laid out by now
        content = svg_bytes(figure)
        write_atomically(self.folder / f"{name}.svg", lambda part: part.write_bytes(content))
