/* What the paced upstream says: the SSE text of one stream, in two dialects and two shapes.
 *
 *     lab    every event equal but for its stamp: the cheapest case for any relay that compares or caches
 *     live   as providers send them: words of varying length, one in eight with an escape, one in ten not ASCII,
 *            OpenAI's random `obfuscation` padding, Anthropic's spaces before the closing brace
 *
 * Functions write at `to`, and return the place after the last byte. The caller provides SHAPE_ROOM bytes.
 */
#ifndef SHAPES_H
#define SHAPES_H

#include <stdio.h>
#include <string.h>

#include "stamp.h"

enum dialect { OPENAI_CHAT, ANTHROPIC };
enum { SHAPE_ROOM = 4096 };

#define CHAT_HEAD                                                                                                  \
    "data: {\"id\":\"chatcmpl-BenchPaced0001\",\"object\":\"chat.completion.chunk\",\"created\":1763600000,"       \
    "\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_5d1c0a7e21\","

static bool shape_live;
static uint64_t shape_random = 88172645463325252u;

/* xorshift64 (Marsaglia 2003): the same words in every run, at the cost of three shifts. */
static inline unsigned random_below(unsigned bound)
{
    shape_random ^= shape_random << 13;
    shape_random ^= shape_random >> 7;
    shape_random ^= shape_random << 17;
    return (unsigned)(shape_random >> 33) % bound;
}

#define PICK(list) (list)[random_below(sizeof(list) / sizeof *(list))]

/* The text after the stamp, as it stands inside a JSON string. */
static inline const char *shape_word(void)
{
    static const char *const plain[] = {" a", " the", " relay", "ing", " carries", ",", ".", " token", " after"};
    static const char *const escaped[] = {"\\n", "\\n\\n", "\\\"", ":\\n\\n\\t", " \\\"so\\\"", "\\\\"};
    static const char *const other[] = {
        " \xc3\xbc" "ber", " \xe2\x82\xac", "\xe4\xbb\xa4\xe7\x89\x8c", " \xf0\x9f\x9a\x80"};
    if (!shape_live)
        return " word";
    unsigned dice = random_below(1000);
    return dice < 125 ? PICK(escaped) : dice < 225 ? PICK(other) : PICK(plain);
}

static inline char *put_text(char *to, const char *text)
{
    size_t n = strlen(text);
    memcpy(to, text, n);
    return to + n;
}

static inline char *put_padding(char *to)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for (unsigned n = random_below(16); n > 0; n--)
        *to++ = letters[random_below(sizeof letters - 1)];
    return to;
}

static inline char *chat_event_end(char *to)
{
    if (shape_live) {
        to = put_text(to, ",\"obfuscation\":\"");
        to = put_padding(to);
        *to++ = '"';
    }
    return put_text(to, "}\n\n");
}

static inline char *anthropic_event_end(char *to)
{
    if (shape_live)
        for (unsigned n = random_below(14); n > 0; n--)
            *to++ = ' ';
    return put_text(to, "}\n\n");
}

/* What a provider sends before its first token, at the moment of the first token. */
static inline char *shape_opening(char *to, enum dialect dialect)
{
    if (dialect == ANTHROPIC)
        return put_text(to,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-sonnet-4-5\","
            "\"id\":\"msg_01BenchPaced\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":"
            "null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":11,\"output_tokens\":1}}}\n\n"
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
            "{\"type\":\"text\",\"text\":\"\"}}\n\n"
            "event: ping\ndata: {\"type\": \"ping\"}\n\n");
    to = put_text(to, CHAT_HEAD "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\","
                                "\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}]");
    return chat_event_end(to);
}

/* One token, stamped now if it is to be. *text_bytes receives the length of the text in it, as it is written in the JSON. */
static inline char *shape_token(
    char *to, enum dialect dialect, uint32_t index, uint64_t asked_ns, bool stamped, size_t *text_bytes)
{
    to = put_text(to, dialect == ANTHROPIC
        ? "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
          "\"delta\":{\"type\":\"text_delta\",\"text\":\""
        : CHAT_HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
    char *text = to;
    if (stamped && index == 0)
        to = stamp_put(to, asked_ns, STAMP_ASKED);
    if (stamped)
        to = stamp_put(to, now_ns(), index);
    to = put_text(to, shape_word());
    *text_bytes = (size_t)(to - text);
    if (dialect == ANTHROPIC)
        return anthropic_event_end(put_text(to, "\"}"));
    return chat_event_end(put_text(to, "\"},\"logprobs\":null,\"finish_reason\":null}]"));
}

/* Everything after the last token, the end marker included. */
static inline char *shape_ending(char *to, enum dialect dialect, uint32_t tokens)
{
    if (dialect == ANTHROPIC)
        return to + sprintf(to,
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
            "\"stop_sequence\":null},\"usage\":{\"output_tokens\":%u}}\n\n"
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", tokens);
    to = put_text(to, CHAT_HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
                                "\"finish_reason\":\"stop\"}]");
    to = chat_event_end(to);
    return to + sprintf(to,
        CHAT_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":%u,\"total_tokens\":%u}}\n\n"
        "data: [DONE]\n\n", tokens, tokens + 11);
}

#endif
