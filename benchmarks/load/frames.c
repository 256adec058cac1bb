/* What the bytes of both transports mean. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <string.h>

/* A client's frame is masked (RFC 6455, 5.3). The key is fixed: unmasking costs the server the same. */
size_t put_frame(char *to, int opcode, const char *payload, size_t size)
{
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t header = 2;
    to[0] = (char)(0x80 | opcode);
    if (size < 126) {
        to[1] = (char)(0x80 | size);
    } else if (size < 65536) {
        to[1] = (char)(0x80 | 126);
        to[2] = (char)(size >> 8);
        to[3] = (char)size;
        header = 4;
    } else {
        fail("a frame of %zu bytes is more than a client sends", size);
    }
    memcpy(to + header, key, 4);
    header += 4;
    for (size_t at = 0; at < size; at++)
        to[header + at] = (char)(payload[at] ^ key[at & 3]);
    return header + size;
}

size_t take_frame(const char *at, size_t size, int *opcode, const char **payload, size_t *payload_size)
{
    const unsigned char *byte = (const unsigned char *)at;
    if (size < 2)
        return 0;
    if ((byte[0] & 0xf0) != 0x80 || byte[1] & 0x80)
        fail("a server's frame is whole, unmasked and without extensions; this one is not");
    size_t length = byte[1], header = 2;
    if (length == 126) {
        if (size < 4)
            return 0;
        length = (size_t)byte[2] << 8 | byte[3];
        header = 4;
    } else if (length == 127) {
        if (size < 10)
            return 0;
        length = (size_t)byte[6] << 24 | byte[7] << 16 | byte[8] << 8 | byte[9];
        header = 10;
    }
    if (size < header + length)
        return 0;
    *opcode = byte[0] & 0x0f;
    *payload = at + header;
    *payload_size = length;
    return header + length;
}

/* The event's name stands behind `{"event":` or, in a Socket.IO packet, behind `42[`; a space may come between. */
static const char *find_name(const char *text, size_t size)
{
    const char *name;
    if (text[0] == '4')
        name = text + 3;
    else if (size > 9 && !memcmp(text, "{\"event\":", 9))
        name = text + 9;
    else if ((name = memmem(text, size, "\"event\":", 8)))
        name += 8;
    else
        return NULL;
    if (*name == ' ')
        name++;
    return *name == '"' ? name + 1 : NULL;
}

enum event name_of(const char *text, size_t size)
{
    static const struct {
        const char *name;
        enum event event;
    } known[] = {
        {"location-updated\"", EV_LOCATION_UPDATED},
        {"location-acknowledged\"", EV_LOCATION_ACKNOWLEDGED},
        {"guardian:session-started\"", EV_GUARDIAN_STARTED},
        {"session-started\"", EV_SESSION_STARTED},
        {"session-ended\"", EV_SESSION_ENDED},
        {"pong\"", EV_PONG},
        {"session-error\"", EV_REFUSED},
        {"location-error\"", EV_REFUSED},
    };
    const char *name = size > 4 ? find_name(text, size) : NULL;
    if (!name)
        fail("not an event: %.*s", (int)(size < 200 ? size : 200), text);
    size_t left = size - (size_t)(name - text);
    for (size_t at = 0; at < sizeof known / sizeof *known; at++) {
        size_t length = strlen(known[at].name);
        if (left >= length && !memcmp(name, known[at].name, length))
            return known[at].event;
    }
    return EV_OTHER;
}

void latitude_of(uint64_t location, char *text, size_t room)
{
    snprintf(text, room, "%d.%05d1", (int)(10 + location / 100000 % 70), (int)(location % 100000));
}
