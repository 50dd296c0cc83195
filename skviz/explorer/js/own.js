// A picture of the user's own, with a mask painted on it.

import {node} from "./parts.js";

const LARGEST = 640; // pixels of the longer side of a picture that is sent to the kernel

export function ownPart(send) {
  const canvas = node("canvas", {hidden: true, tabindex: 0, "aria-label": "your picture: paint over its object"});
  const tools = node("select", {"aria-label": "tool"},
    ...["box", "brush", "eraser"].map((name) => node("option", {value: name}, name)));
  const size = node("input", {type: "range", min: 2, max: 60, value: 18, "aria-label": "size of the brush"});
  const note = node("p", {class: "hint", role: "status"}, "Choose, drop or paste a picture, then mark its object with a box or a brush.");
  const use = node("button", {disabled: true, onclick: () => give()}, "Explore it");
  let [picture, mask, name, from] = [null, null, "picture", null];
  const show = () => {
    const pen = canvas.getContext("2d");
    pen.globalAlpha = 1;
    pen.drawImage(picture, 0, 0);
    pen.globalAlpha = 0.55;
    pen.drawImage(mask, 0, 0);
  };
  const read = (file) => createImageBitmap(file).catch(() => {
    note.textContent = `${file.name || "That"} is no picture that this browser can read.`;
  });
  const takeMask = (bitmap) => {
    const pen = mask.getContext("2d", {willReadFrequently: true});
    pen.drawImage(bitmap, 0, 0, mask.width, mask.height);
    const marked = pen.getImageData(0, 0, mask.width, mask.height);
    for (let i = 0; i < marked.data.length; i += 4) {
      const on = marked.data[i] * (marked.data[i + 3] / 255) > 127;
      marked.data.set([226, 60, 130, on ? 255 : 0], i);
    }
    pen.putImageData(marked, 0, 0);
  };
  const takePicture = (bitmap, title) => {
    const shrink = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
    const area = {width: Math.round(bitmap.width * shrink), height: Math.round(bitmap.height * shrink)};
    [picture, mask] = [0, 1].map(() => Object.assign(document.createElement("canvas"), area));
    Object.assign(canvas, area);
    picture.getContext("2d").drawImage(bitmap, 0, 0, area.width, area.height);
    name = title.replace(/\.\w+$/, "");
    note.textContent = "Mark the object; what is not marked becomes the background.";
  };
  const open = async (file, asMask) => {
    use.disabled = true; // until it is read
    const bitmap = await read(file);
    if (bitmap && asMask && picture) takeMask(bitmap);
    else if (bitmap) takePicture(bitmap, file.name || "pasted picture");
    canvas.hidden = use.disabled = !picture;
    if (picture) show();
  };
  const mark = (event) => {
    if (!picture) return;
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
    if (event.type === "pointerdown") {
      canvas.setPointerCapture(event.pointerId);
      from = {x, y, before: mask.getContext("2d").getImageData(0, 0, mask.width, mask.height)};
    } else if (!event.buttons || !from) return;
    const pen = mask.getContext("2d");
    pen.fillStyle = pen.strokeStyle = "rgb(226, 60, 130)";
    pen.globalCompositeOperation = tools.value === "eraser" ? "destination-out" : "source-over";
    if (tools.value === "box") {
      pen.putImageData(from.before, 0, 0);
      pen.fillRect(from.x, from.y, x - from.x, y - from.y);
    } else {
      Object.assign(pen, {lineWidth: size.value, lineCap: "round"});
      pen.beginPath();
      pen.moveTo(from.x, from.y);
      pen.lineTo(x, y + 0.01);
      pen.stroke();
      Object.assign(from, {x, y});
    }
    show();
    event.stopPropagation();
  };
  canvas.addEventListener("pointerdown", mark);
  canvas.addEventListener("pointermove", mark);
  const close = () => { part.hidden = true; };
  const give = () => {
    const area = [0, 0, picture.width, picture.height];
    const rgba = picture.getContext("2d").getImageData(...area).data;
    const marked = mask.getContext("2d").getImageData(...area).data.filter((_, i) => i % 4 === 3);
    send({kind: "picture", name, width: picture.width, height: picture.height}, [rgba.buffer, marked.buffer]);
    close();
  };
  const chooser = (label, asMask) => node("label", {class: "file"}, label,
    node("input", {type: "file", accept: "image/*", onchange: (event) => {
      if (event.target.files[0]) open(event.target.files[0], asMask);
      event.target.value = ""; // so that the same file can be chosen again
    }}));
  const part = node("section", {class: "own", hidden: true, "aria-label": "your own picture"},
    node("div", {class: "bar"}, chooser("Picture…", false), chooser("Mask file…", true), tools, size,
      use, node("button", {onclick: close}, "Close")), note, canvas);
  const given = ({files}, event) => {
    event.preventDefault();
    if (files[0]) open(files[0], Boolean(picture) && event.shiftKey);
    else note.textContent = "There is no file in that.";
  };
  part.addEventListener("paste", (event) => given(event.clipboardData, event));
  part.addEventListener("dragover", (event) => event.preventDefault());
  part.addEventListener("drop", (event) => given(event.dataTransfer, event));
  return {node: part, toggle: () => { part.hidden = !part.hidden; }};
}
