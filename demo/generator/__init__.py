"""The shapes generator: a diffusion transformer in miniature that ComfyUI's core nodes load and run.

Read it in this order: `text` and `mmdit` (prompt and denoiser), `autoencoder` (pictures and latents), `data`
(pictures with prompts), `sampling`, `training`, `files` (the one file that is loaded), `reader` (what is in a
picture) and `evaluation` (how many facts are right); then `lora`, `judges`, `reinforcement` and
`reinforcement_report` (how the critic teaches it).
"""
