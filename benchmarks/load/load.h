/*
 * The load generator: one thread, one epoll, no library.
 *
 * It plays the wards and guardians named in a plan, checks the event name of every frame it gets and counts
 * every delivery, so that nothing lost counts as fast. A connection that closes, a refusal, a location that is
 * missing, doubled or out of order ends the run with exit status 1 and one line that says why.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AT_ONCE 64 /* handshakes, or other single steps of many connections, under way */

enum transport { NATIVE, SOCKETIO };

enum role { WARD, GUARDIAN, BYSTANDER }; /* a bystander is a ward whose session only has to be there */

enum state { UNOPENED, CONNECTING, UPGRADING, GREETED, JOINING, OPEN };

enum event {
    EV_OTHER,
    EV_SESSION_STARTED,
    EV_GUARDIAN_STARTED,
    EV_SESSION_ENDED,
    EV_LOCATION_UPDATED,
    EV_LOCATION_ACKNOWLEDGED,
    EV_PONG,
    EV_REFUSED
};

struct connection {
    const char *token;
    char *pending; /* the beginning of a frame whose rest has not come yet */
    size_t pending_size;
    int fd;
    int family;    /* index of the family it belongs to, -1 for nobody's */
    uint64_t seen; /* how many of the line's events it has had */
    uint8_t role, state;
};

/* A ward and the guardians who follow it in the plan. */
struct family {
    struct connection *ward, *guardians;
    int guardian_count;
    int notices; /* guardians told of the session under way, or of its end */
    bool confirmed;
    uint64_t begun_us;    /* when its start was sent */
    uint64_t sent;        /* sessions started, or locations sent */
    uint64_t sent_before; /* of these, before the probe under way */
};

struct samples {
    uint32_t *us;
    size_t count, room;
};

/* What was used between two moments: time, CPU of both sides, and all that the machine's cores did or were denied. */
struct meter {
    double wall, load_cpu, server_cpu, machine_cpu, stolen_cpu;
};

struct options {
    const char *line, *plan;
    int port, window;
    pid_t server;
    double warm_up, seconds;
    enum transport transport;
};

struct load {
    struct options options;
    struct connection *connections;
    struct family *families;
    int connection_count, family_count, open_count, epoll;
    uint64_t now_us; /* read once for each chunk that arrives */
    uint64_t pings;  /* keep-alive pings answered */
    void (*on_event)(struct load *, struct connection *, enum event, const char *text, size_t size);
    void *line; /* what the line under way remembers */
    char *input, *output;
    size_t output_size;
};

/* connection.c: opening, reading, writing */
void begin(struct load *, struct connection *);
void append_event(struct load *, const char *name, const char *data);
void flush(struct load *, struct connection *);
void send_event(struct load *, struct connection *, const char *name, const char *data);
void turn(struct load *, int timeout_ms); /* waits once and handles all that has come */

/* frames.c: what the bytes of both transports mean */
size_t put_frame(char *to, int opcode, const char *payload, size_t size);
/* One server frame at `at`: its length with header, or 0 if it is not whole yet. */
size_t take_frame(const char *at, size_t size, int *opcode, const char **payload, size_t *payload_size);
enum event name_of(const char *text, size_t size);
/* A latitude for a location's number, whose spelling is the same in every language: it can be found in a payload. */
void latitude_of(uint64_t location, char *text, size_t room);

/* plan.c: who takes part */
void read_plan(struct load *);
void open_all(struct load *, enum role);
void start_sessions(struct load *, enum role); /* of all in that role; returns once everybody was told */

/* measure.c */
uint64_t now_us(void);
void add_sample(struct samples *, uint64_t us);
double percentile_ms(struct samples *, double share);
struct meter meter_now(struct load *);
struct meter meter_since(struct load *, struct meter start);
void print_meter(struct meter used); /* the closing fields of a result */
long server_rss_kib(struct load *);
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* The lines of the table, one file each. Each prints its result as one JSON object. */
void line_sessions(struct load *);
void line_crowd(struct load *);
void line_rate(struct load *);
void line_connect(struct load *);
void line_hold(struct load *);

#endif
