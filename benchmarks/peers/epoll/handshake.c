/* The upgrade: RFC 6455 section 4, with SHA-1 (RFC 3174) and base64, and a token's `sub`, believed as it stands. */
#include "epoll.h"

#include <stdio.h>
#include <string.h>

static uint32_t rotate(uint32_t value, int by)
{
    return value << by | value >> (32 - by);
}

static void sha1_block(uint32_t *state, const unsigned char *block)
{
    uint32_t word[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int at = 0; at < 16; at++)
        word[at] = (uint32_t)block[at * 4] << 24 | block[at * 4 + 1] << 16 | block[at * 4 + 2] << 8 | block[at * 4 + 3];
    for (int at = 16; at < 80; at++)
        word[at] = rotate(word[at - 3] ^ word[at - 8] ^ word[at - 14] ^ word[at - 16], 1);
    for (int at = 0; at < 80; at++) {
        uint32_t mixed = at < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : at < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : at < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                   : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotate(a, 5) + mixed + e + word[at];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* Of the 60 characters that an accept key is made from: two blocks. */
static void sha1_of_60(const char *text, unsigned char *digest)
{
    unsigned char blocks[128] = {0};
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(blocks, text, 60);
    blocks[60] = 0x80;
    blocks[126] = 480 >> 8;
    blocks[127] = 480 & 255;
    sha1_block(state, blocks);
    sha1_block(state, blocks + 64);
    for (int at = 0; at < 20; at++)
        digest[at] = state[at / 4] >> (24 - at % 4 * 8);
}

static void accept_key(const char *key, char *accept)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[61];
    unsigned char digest[21] = {0};
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1_of_60(text, digest);
    for (int at = 0; at < 7; at++) {
        uint32_t three = digest[at * 3] << 16 | digest[at * 3 + 1] << 8 | digest[at * 3 + 2];
        for (int place = 0; place < 4; place++)
            *accept++ = letters[three >> (18 - place * 6) & 63];
    }
    accept[-1] = '=';
    *accept = 0;
}

static int base64url_value(char letter)
{
    return letter >= 'A' && letter <= 'Z'   ? letter - 'A'
           : letter >= 'a' && letter <= 'z' ? letter - 'a' + 26
           : letter >= '0' && letter <= '9' ? letter - '0' + 52
           : letter == '-'                  ? 62
           : letter == '_'                  ? 63
                                            : -1;
}

static struct user *user_of_token(const char *token)
{
    char claims[1024];
    size_t size = 0;
    uint32_t bits = 0;
    const char *at = strchr(token, '.');
    for (int held = 0, value; at && size < sizeof claims - 1 && (value = base64url_value(*++at)) >= 0;) {
        bits = bits << 6 | (uint32_t)value;
        if ((held += 6) >= 8)
            claims[size++] = bits >> (held -= 8);
    }
    claims[size] = 0;
    const char *subject = strstr(claims, "\"sub\"");
    subject = subject ? strchr(subject + 5, '"') : NULL;
    return subject ? find_user(subject + 1, strcspn(subject + 1, "\"")) : NULL;
}

size_t answer_upgrade(struct connection *connection, const char *request, char *answer, size_t room)
{
    char accept[32];
    const char *key = strstr(request, "Sec-WebSocket-Key: "), *token = strstr(request, "Authorization: Bearer ");
    if (!key || !token || !(connection->user = user_of_token(token + 22)))
        return 0;
    accept_key(key + 19, accept);
    connection->is_ward = !strncmp(request, "GET /ws/ward ", 13);
    return snprintf(answer, room,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: %s\r\n\r\n",
                    accept);
}
