/* Users and who guards whom, from lines `U id email first last` and `P ward guardian`, tabs between. */
#define _GNU_SOURCE
#include "epoll.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (1 << 16)

static struct user *users[SLOTS];

static struct user **slot_of(const char *id, size_t size)
{
    uint32_t at = 2166136261u;
    for (size_t place = 0; place < size; place++)
        at = (at ^ (unsigned char)id[place]) * 16777619u;
    for (at %= SLOTS; users[at]; at = (at + 1) % SLOTS)
        if (!strncmp(users[at]->id, id, size) && !users[at]->id[size])
            break;
    return &users[at];
}

struct user *find_user(const char *id, size_t size)
{
    return *slot_of(id, size);
}

static void add_user(char **word)
{
    struct user *user = calloc(1, sizeof *user);
    user->id = strdup(word[1]);
    user->email = strdup(word[2]);
    user->first_name = strdup(word[3]);
    user->last_name = strdup(word[4]);
    user->guardian_list = strdup("");
    *slot_of(user->id, strlen(user->id)) = user;
}

static void add_guardian(struct user *ward, struct user *guardian)
{
    char *list, *before = ward->guardian_list;
    ward->guardians = realloc(ward->guardians, (ward->guardian_count + 1) * sizeof *ward->guardians);
    ward->guardians[ward->guardian_count++] = guardian;
    if (asprintf(&list, "%s%s{\"id\":\"%s\",\"firstName\":\"%s\",\"lastName\":\"%s\",\"email\":\"%s\"}", before,
                 *before ? "," : "", guardian->id, guardian->first_name, guardian->last_name, guardian->email) < 0)
        exit(1);
    ward->guardian_list = list;
    free(before);
}

void read_people(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL, *word[5], *rest;
    size_t room = 0;
    if (!file) {
        perror(path);
        exit(1);
    }
    while (getline(&line, &room, file) > 0) {
        int count = 0;
        for (char *next = strtok_r(line, "\t\n", &rest); next && count < 5; next = strtok_r(NULL, "\t\n", &rest))
            word[count++] = next;
        if (count == 5)
            add_user(word);
        else if (count == 3)
            add_guardian(find_user(word[1], strlen(word[1])), find_user(word[2], strlen(word[2])));
    }
    free(line);
    fclose(file);
}
