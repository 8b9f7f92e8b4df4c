/**
 * Every word of the panel. English stands here; a translation comes from locales/<language>/main.json, key
 * "rationalRewards", with the same keys. What a translation lacks stays English. {words in braces} are filled
 * in.
 */
const ENGLISH = {
    panel: "Critique",
    empty: "Run the workflow to see the result here.",
    score: "Overall score, from 0 to 1",
    mean: "mean {mean} of 4",
    confidence: "confidence {value}",
    notApplicable: "N/A",
    notRead: "not read",
    ofFour: "{name}: {score} of 4",
    bothOfFour: "{name}: A {a} of 4, B {b} of 4",
    doesNotApply: "{name}: does not apply",
    couldNotBeRead: "{name}: could not be read",
    aWins: "A is better",
    bWins: "B is better",
    tie: "A tie",
    noWinner: "No winner could be read",
    totals: "A {a}, B {b} of 4",
    bothOrders: "Judged in both orders, which agree.",
    rewritten: "Prompt rewritten",
    unchanged: "Prompt unchanged",
    changes: "Changes",
    comments: "Comments",
    summary: "Summary",
    raw: "Raw answer",
    copy: "Copy",
    copyPrompt: "Copy prompt",
    copyComments: "Copy comments",
    copyRaw: "Copy raw answer",
    copied: "Copied",
    copyFailed: "Could not copy",
    image: "Image {number} of {count}",
    pair: "Pair {number} of {count}",
    prompt: "Prompt {number} of {count}",
    round: "Round {number} of {count}",
    place: "Place {number} of {count}",
    kept: "Image {image}, kept",
    rejected: "Image {image}, rejected",
    rounds: "Rounds",
    firstRound: "Round {number}",
    roundBest: "Round {number} of {count}, best {best}",
    scoredRound: "Round {number} of {count}: {score}",
    bestRound: "Round {number} of {count}: {score}, the best",
    best: "best",
    generating: "Generating the image",
    finish: "Finish this round, then stop",
    finishing: "Stops after this round",
    finishFailed: "ComfyUI did not answer. Ask again",
    promptOfRound: "Prompt",
    changesSince: "Prompt, changed since round {number}",
    usePrompt: "Use this prompt",
    promptUsed: "Written into {name}.",
    promptCopied: "Copied, because it cannot be written to where the prompt comes from.",
    previous: "Previous",
    next: "Next",
    fold: "Show less",
    unfold: "Show more",
    judgedBy: "Judged by {name}",
    reading: "Looking at the images",
    writing: "Writing",
    writingPart: "Writing: {part}",
    scoring: "Scoring",
    analysis: "Analysis",
    refinedRequest: "Refined prompt",
    failed: "This node failed. ComfyUI's log says why.",
    textFaithfulness: "Text Faithfulness",
    imageFaithfulness: "Image Faithfulness",
    physicalQuality: "Physical and Visual Quality",
    textRendering: "Text Rendering",
}
/**
 * Dimensions of the published rubrics. Others, of the user's own rubrics, keep the names that their rubric
 * gives them.
 */
const DIMENSIONS = {
    text_faithfulness: "textFaithfulness",
    image_faithfulness: "imageFaithfulness",
    physical_quality: "physicalQuality",
    text_rendering: "textRendering",
}

let words = ENGLISH

/** The words for `key`, with `values` in the place of {name}. */
export function say(key, values = {}) {
    return words[key].replace(/\{(\w+)\}/g, (slot, name) => (name in values ? String(values[name]) : slot))
}

/** A dimension's name in the user's language, where it is one that we know. */
export function dimensionName(key, name) {
    const known = Object.hasOwn(DIMENSIONS, key) ? DIMENSIONS[key] : null
    return known && name === ENGLISH[known] ? say(known) : name
}

/** The same from its key alone, as the critic announces what it is writing about. */
export function dimensionOfKey(key) {
    return Object.hasOwn(DIMENSIONS, key) ? say(DIMENSIONS[key]) : key.replaceAll("_", " ")
}

/** Take the words of `locale` from `translations`, which holds every language's main.json. */
export function speak(locale, translations) {
    words = Object.fromEntries(
        Object.entries(ENGLISH).map(([key, english]) => {
            const translated = translations?.[locale]?.rationalRewards?.[key]
            return [key, typeof translated === "string" ? translated : english]
        }),
    )
}
