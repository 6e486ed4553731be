/* aws_internal.h - shared by the aws_*.c files and nobody else. */
#pragma once

#include "aws.h"

/* Code and message out of an answer's body and headers, XML or JSON. */
void aws_read_error(struct aws_answer *r);
/* What the answer means, in words. `source`: where the keys came from. */
int aws_explain(const struct aws *a, const struct aws_call *c, const struct aws_answer *r,
        const char *source, struct err *e);
bool aws_is_expired(const struct aws_answer *r);
