"""A Space of Hugging Face: drop in a photo and see why. `python app.py` runs it on your machine."""

import gradio as gr
import ttame

explainer = ttame.load_explainer("efficientnet_lite0")
methods = {"T-TAME": explainer}
for title, name in (("Grad-CAM", "grad_cam"), ("LayerCAM", "layer_cam")):
    methods[title] = ttame.make_explainer(name, explainer.classifier)


def explain(photo, title):
    """The probabilities, and the map of each of the three most probable classes."""
    if photo is None:
        return {}, []
    explanation = methods[title](photo, classes="top3", progress=False)
    found = list(explanation.each_class())
    pictures = [(explanation.overlay(photo, place), each.label) for place, each in enumerate(found)]
    return {each.label: each.probability for each in found}, pictures


page = gr.Interface(
    explain,
    [gr.Image(type="pil", label="Photo"), gr.Radio(list(methods), value="T-TAME", label="Method")],
    [gr.Label(label="What it says"), gr.Gallery(label="Why", columns=3, height="auto")],
    title="Why did it say that?",
    flagging_mode="never",  # "Flag" would keep a visitor's photo on the disk.
)

if __name__ == "__main__":
    page.launch()
