/* Sockets: opening both transports, reading whole frames, writing. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define INPUT_ROOM (1 << 20)
#define OUTPUT_ROOM (1 << 16)
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* the answer to KEY, RFC 6455 1.3 */

enum opcode { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

void begin(struct load *load, struct connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(load->options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("no socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("no connection: %s", strerror(errno));
    struct epoll_event wanted = {.events = EPOLLOUT, .data.ptr = connection};
    epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &wanted);
    connection->fd = fd;
    connection->state = CONNECTING;
}

static void write_all(struct connection *connection, const char *bytes, size_t size)
{
    ssize_t written = send(connection->fd, bytes, size, MSG_NOSIGNAL);
    if (written != (ssize_t)size)
        fail("the server does not read what is sent to it (%s)", written < 0 ? strerror(errno) : "its buffer is full");
}

void append_event(struct load *load, const char *name, const char *data)
{
    char text[1024];
    int size;
    if (!load->output && !(load->output = malloc(OUTPUT_ROOM)))
        fail("out of memory");
    if (load->options.transport == NATIVE)
        size = snprintf(text, sizeof text, data ? "{\"event\":\"%s\",\"data\":%s}" : "{\"event\":\"%s\"}", name, data);
    else
        size = snprintf(text, sizeof text, data ? "42[\"%s\",%s]" : "42[\"%s\"]", name, data);
    if (load->output_size + size + 16 > OUTPUT_ROOM)
        fail("too much to send at once");
    load->output_size += put_frame(load->output + load->output_size, TEXT, text, size);
}

void flush(struct load *load, struct connection *connection)
{
    write_all(connection, load->output, load->output_size);
    load->output_size = 0;
}

void send_event(struct load *load, struct connection *connection, const char *name, const char *data)
{
    append_event(load, name, data);
    flush(load, connection);
}

static void send_frame(struct connection *connection, int opcode, const char *payload, size_t size)
{
    char frame[4096];
    if (size > sizeof frame - 16)
        fail("a frame of %zu bytes is more than is sent here", size);
    write_all(connection, frame, put_frame(frame, opcode, payload, size));
}

static void ask_for_upgrade(struct load *load, struct connection *connection)
{
    char request[4096];
    char where[64] = "/socket.io/?EIO=4&transport=websocket", bearer[2048] = "";
    int problem = 0;
    socklen_t length = sizeof problem;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &problem, &length);
    if (problem)
        fail("no connection: %s", strerror(problem));
    if (load->options.transport == NATIVE) {
        snprintf(where, sizeof where, "/ws/%s", connection->role == GUARDIAN ? "guardian" : "ward");
        snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", connection->token);
    }
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                        where, load->options.port, bearer);
    write_all(connection, request, size);
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLET, .data.ptr = connection};
    epoll_ctl(load->epoll, EPOLL_CTL_MOD, connection->fd, &wanted);
    connection->state = UPGRADING;
}

static void opened(struct load *load, struct connection *connection)
{
    connection->state = OPEN;
    load->open_count++;
}

static void on_event(struct load *load, struct connection *connection, const char *text, size_t size)
{
    enum event event = name_of(text, size);
    if (event == EV_REFUSED)
        fail("refused: %.*s", (int)(size < 300 ? size : 300), text);
    load->on_event(load, connection, event, text, size);
}

static void on_socketio_packet(struct load *load, struct connection *connection, const char *text, size_t size)
{
    if (text[0] == '0' && connection->state == GREETED) {
        char packet[2048];
        int length = snprintf(packet, sizeof packet, "40{\"token\":\"%s\"}", connection->token);
        connection->state = JOINING;
        send_frame(connection, TEXT, packet, length);
    } else if (text[0] == '2') {
        load->pings++;
        send_frame(connection, TEXT, "3", 1);
    } else if (size > 1 && text[0] == '4' && text[1] == '0' && connection->state == JOINING) {
        opened(load, connection);
    } else if (size > 2 && text[0] == '4' && text[1] == '2' && connection->state == OPEN) {
        on_event(load, connection, text, size);
    } else if (text[0] != '6') {
        fail("refused: %.*s", (int)(size < 200 ? size : 200), text);
    }
}

static void on_frame(struct load *load, struct connection *connection, int opcode, const char *payload, size_t size)
{
    if (opcode == PING) {
        load->pings++;
        send_frame(connection, PONG, payload, size);
    } else if (opcode == CLOSE) {
        fail("the server closed a connection, code %d",
             size < 2 ? 0 : (unsigned char)payload[0] << 8 | (unsigned char)payload[1]);
    } else if (opcode != TEXT || !size) {
        fail("a frame with opcode %d and %zu bytes", opcode, size);
    } else if (load->options.transport == SOCKETIO) {
        on_socketio_packet(load, connection, payload, size);
    } else {
        on_event(load, connection, payload, size);
    }
}

/* The answer to the upgrade; returns how much of the input it was, 0 if it is not whole yet. */
static size_t on_upgrade(struct load *load, struct connection *connection, const char *input, size_t size)
{
    const char *end = memmem(input, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - input) + 4;
    if (size < 12 || memcmp(input, "HTTP/1.1 101", 12) || !memmem(input, head, ACCEPT, strlen(ACCEPT)))
        fail("no upgrade: %.*s", (int)(head < 300 ? head : 300), input);
    if (load->options.transport == NATIVE)
        opened(load, connection);
    else
        connection->state = GREETED;
    return head;
}

static void keep_rest(struct connection *connection, const char *rest, size_t size)
{
    if (size && !(connection->pending = realloc(connection->pending, size)))
        fail("out of memory");
    if (size)
        memcpy(connection->pending, rest, size);
    connection->pending_size = size;
}

static void read_some(struct load *load, struct connection *connection)
{
    size_t size = connection->pending_size, at = 0, taken, payload_size;
    const char *payload;
    int opcode;
    if (size)
        memcpy(load->input, connection->pending, size);
    ssize_t got = recv(connection->fd, load->input + size, INPUT_ROOM - size, 0);
    if (got <= 0)
        fail("the server dropped a connection (%s)", got ? strerror(errno) : "end of stream");
    size += got;
    load->now_us = now_us();
    if (connection->state == UPGRADING && !(at = on_upgrade(load, connection, load->input, size))) {
        keep_rest(connection, load->input, size);
        return;
    }
    while ((taken = take_frame(load->input + at, size - at, &opcode, &payload, &payload_size))) {
        on_frame(load, connection, opcode, payload, payload_size);
        at += taken;
    }
    if (size - at || connection->pending_size)
        keep_rest(connection, load->input + at, size - at);
}

void turn(struct load *load, int timeout_ms)
{
    struct epoll_event events[512];
    if (!load->input && !(load->input = malloc(INPUT_ROOM)))
        fail("out of memory");
    int count = epoll_wait(load->epoll, events, 512, timeout_ms);
    for (int at = 0; at < count; at++) {
        struct connection *connection = events[at].data.ptr;
        if (connection->state == CONNECTING)
            ask_for_upgrade(load, connection);
        else
            read_some(load, connection);
    }
}
