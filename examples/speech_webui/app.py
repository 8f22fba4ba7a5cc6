"""Speech WebUI: a page that speaks typed text and transcribes speech.

It downloads its weights when it starts, as such pages do, and does not use preheat.
"""

import argparse
import time

import gradio as gr
import numpy as np
from faster_whisper import WhisperModel
from huggingface_hub import hf_hub_download
from piper import PiperVoice

VOICE = "preheat-demo/en_US-joe-medium"
RECOGNISER = "preheat-demo/faster-whisper-tiny.en"

SENTENCES = [
    "Good morning. The kettle is on and the bread is still warm.",
    "The weights were already on this machine, so the page opened at once.",
    "Please mind the gap between the train and the platform.",
]

LOOKS = """
.gradio-container { width: 100% !important; max-width: 1120px !important; margin: 0 auto !important; }
#heading h1 { font-size: 2.4rem; margin: 1.6rem 0 0.3rem; }
#heading p { font-size: 1.1rem; color: var(--neutral-500); margin: 0 0 0.8rem; }
#said p, #done p { color: var(--neutral-500); }
#speech, #recording { min-height: 13rem; }
#recording button[aria-label="Share"], #recording button[title="Share"] { display: none; }
"""

THEME = gr.themes.Soft(
    primary_hue="teal",
    neutral_hue="slate",
    text_size="lg",
    spacing_size="lg",
    font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"],
)
WAVE = gr.WaveformOptions(waveform_color="#5eead4", waveform_progress_color="#0f766e")


def load_voice() -> PiperVoice:
    """Download the voice and load it."""
    model = hf_hub_download(VOICE, "en_US-joe-medium.onnx")
    config = hf_hub_download(VOICE, "en_US-joe-medium.onnx.json")
    return PiperVoice.load(model, config)


def load_recogniser() -> WhisperModel:
    """Download the recogniser and load it: given a repository's name, WhisperModel does both."""
    return WhisperModel(RECOGNISER, device="cpu", compute_type="int8")


def told(words: str) -> gr.Error:
    """Return an error that the visitor sees and the log does not contain."""
    return gr.Error(words, title="One moment", print_exception=False)


def build_page(voice: PiperVoice, recogniser: WhisperModel) -> gr.Blocks:
    """Build the page for the two models."""

    def say(text: str) -> tuple[tuple[int, np.ndarray], str]:
        if not text.strip():
            raise told("Type a sentence first, then press Generate.")
        began = time.monotonic()
        rate = voice.config.sample_rate
        chunks = [chunk.audio_int16_array for chunk in voice.synthesize(text)]
        if not chunks:
            raise told("There is nothing to pronounce in this text. Try a few words.")
        samples = np.concatenate(chunks)
        took = time.monotonic() - began
        return (rate, samples), f"{len(samples) / rate:.1f} s of speech, made in {took:.1f} s"

    def transcribe(recording: str | None) -> tuple[str, str]:
        if recording is None:
            raise told("Record or drop some speech first, then press Transcribe.")
        began = time.monotonic()
        segments, found = recogniser.transcribe(recording, language="en")
        text = " ".join(segment.text.strip() for segment in segments)
        took = time.monotonic() - began
        return text, f"{found.duration:.1f} s of speech, read in {took:.1f} s"

    with gr.Blocks(title="Speech WebUI") as page:
        gr.Markdown(
            "# Speech WebUI\nSpeak with a neural voice, or turn speech into text. Everything runs on this machine.",
            elem_id="heading",
        )
        with gr.Tab("Speak"), gr.Row():
            with gr.Column():
                text = gr.Textbox(SENTENCES[0], label="Text", lines=5, max_lines=12, elem_id="text")
                generate = gr.Button("Generate", variant="primary", elem_id="generate")
                gr.Examples(SENTENCES, text, label="Or try one of these")
            with gr.Column():
                speech = gr.Audio(
                    label="Speech", interactive=False, buttons=["download"], waveform_options=WAVE, elem_id="speech"
                )
                said = gr.Markdown(elem_id="said")
            gr.on([generate.click, text.submit], say, text, [speech, said], api_name="say")
        with gr.Tab("Transcribe"), gr.Row():
            with gr.Column():
                recording = gr.Audio(label="Recording", type="filepath", waveform_options=WAVE, elem_id="recording")
                read = gr.Button("Transcribe", variant="primary", elem_id="transcribe")
            with gr.Column():
                heard = gr.Textbox(label="Text", lines=7, interactive=False, buttons=["copy"], elem_id="heard")
                done = gr.Markdown(elem_id="done")
            read.click(transcribe, recording, [heard, done], api_name="transcribe")
    return page


def main() -> None:
    """Download and load the models, then open the page."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    words.add_argument("--port", type=int, default=7860, help="port to listen on (default: %(default)s)")
    asked = words.parse_args()

    print(f"Loading the voice {VOICE} …", flush=True)
    voice = load_voice()
    print(f"Loading the recogniser {RECOGNISER} …", flush=True)
    recogniser = load_recogniser()
    build_page(voice, recogniser).launch(
        server_name=asked.host,
        server_port=asked.port,
        theme=THEME,
        css=LOOKS,
        footer_links=[],
    )


if __name__ == "__main__":
    main()
