// What is measured on an image: a distance and the mean of a region, in the units of the file.

// Both ends in pixels of the image, as (column, row); spacing is millimetres between rows and columns.
function distanceOf(mark, { spacing }) {
  const columns = mark.to[0] - mark.from[0];
  const rows = mark.to[1] - mark.from[1];
  if (!spacing) return `${Math.hypot(columns, rows).toFixed(1)} px`;
  return `${Math.hypot(columns * spacing[1], rows * spacing[0]).toFixed(1)} mm`;
}

// Of the pixels whose middle lies in the rectangle.
function regionOf(mark, image) {
  const { spacing } = image;
  const clamp = (value, most) => Math.min(most, Math.max(0, Math.round(value)));
  const [left, right] = [mark.from[0], mark.to[0]].sort((a, b) => a - b).map((x) => clamp(x, image.columns));
  const [top, bottom] = [mark.from[1], mark.to[1]].sort((a, b) => a - b).map((y) => clamp(y, image.rows));
  const count = (right - left) * (bottom - top);
  if (count <= 0 || image.inColour) return "";
  let sum = 0;
  let squares = 0;
  for (let row = top; row < bottom; row += 1) {
    for (let column = left; column < right; column += 1) {
      const value = image.valueAt(row, column);
      sum += value;
      squares += value * value;
    }
  }
  const mean = sum / count;
  const deviation = Math.sqrt(Math.max(0, squares / count - mean * mean));
  const area = spacing ? `${(count * spacing[0] * spacing[1]).toFixed(0)} mm²` : `${count} px`;
  return `mean ${mean.toFixed(1)} ± ${deviation.toFixed(1)} ${image.unit}, ${area}`.replace(" ,", ",");
}

// Returns what it writes beside the mark.
function drawMark(context, mark, toCanvas, image) {
  const [x0, y0] = toCanvas(mark.from);
  const [x1, y1] = toCanvas(mark.to);
  context.beginPath();
  if (mark.kind === "ruler") {
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
  } else {
    context.rect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
  }
  context.stroke();
  const text = mark.kind === "ruler" ? distanceOf(mark, image) : regionOf(mark, image);
  context.fillText(text, Math.max(x0, x1) + 8, Math.max(y0, y1));
  return text;
}
