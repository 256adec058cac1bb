/*
 * What the machine could do: the contract in C on epoll, with nothing that makes a server safe. It believes each
 * token without looking at its signature, keeps the people in memory, takes every frame for well-formed, asks for signs
 * of life and does not look whether they come, knows no limits and no journal.
 */
#ifndef EPOLL_H
#define EPOLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct user {
    char *id, *email, *first_name, *last_name;
    struct user **guardians;
    int guardian_count;
    char *guardian_list; /* as it stands in session-started */
    struct connection *connections;
    struct session *session;
};

struct session {
    char id[40], start_time[32];
    double begun;
    struct connection **room;
    int count;
};

struct connection {
    int fd;
    bool is_ward, open, dirty;
    struct user *user;
    struct connection *next_of_user, *next_dirty, *next_asked;
    double asked; /* for a sign of life */
    char *input, *output;
    size_t input_size, output_size, output_room;
};

/* people.c */
void read_people(const char *path);
struct user *find_user(const char *id, size_t size);

/* handshake.c: the answer to an upgrade, or 0; the path decides the role, the token's `sub` the user */
size_t answer_upgrade(struct connection *, const char *request, char *answer, size_t room);

#endif
