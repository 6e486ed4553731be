#include "reach.h"

#include "buf.h"
#include "config.h"
#include "store_s3.h"

/* Source: "Actions, resources, and condition keys for Amazon S3" (Service Authorization
 * Reference). HEAD and ranged GET need s3:GetObject; what is read without the private key is
 * sealed. */

static const char *partition(const struct config *c)
{
        const char *r = c->region_name ? c->region_name : "";
        return startswith(r, "cn-") ? "aws-cn" : startswith(r, "us-gov-") ? "aws-us-gov" : "aws";
}

static void add_actions(struct buf *b, const char *const *actions, size_t n)
{
        buf_adds(b, "            \"Action\": [");
        for (size_t i = 0; i < n; i++)
                buf_addf(b, "%s\n                \"%s\"", i ? "," : "", actions[i]);
        buf_adds(b, "\n            ],\n");
}

static void add_quoted(struct buf *b, const char *fmt, ...) _printf_(2, 3);

static void add_quoted(struct buf *b, const char *fmt, ...)
{
        char text[800];
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        buf_add_json(b, text, MIN((size_t)MAX(n, 0), sizeof text - 1)); /* longer than all of it */
}

/* Listings of objects can be held to the prefix, those of unfinished uploads cannot. */
static void add_bucket(struct buf *b, const char *arn, const char *prefix)
{
        static const char *const list[] = {"s3:ListBucket"};
        static const char *const uploads[] = {"s3:ListBucketMultipartUploads"};
        buf_adds(b, "        {\n            \"Effect\": \"Allow\",\n");
        add_actions(b, list, 1);
        buf_addf(b, "            \"Resource\": \"%s\"", arn);
        if (*prefix) {
                buf_adds(b, ",\n            \"Condition\": {\"StringLike\": {\"s3:prefix\": ");
                add_quoted(b, "%s/*", prefix);
                buf_adds(b, "}}");
        }
        buf_adds(b, "\n        },\n        {\n            \"Effect\": \"Allow\",\n");
        add_actions(b, uploads, 1);
        buf_addf(b, "            \"Resource\": \"%s\"\n        },\n", arn);
}

static void add_objects(struct buf *b, const char *arn, const char *prefix, bool write_only)
{
        /* The last two are for restoring and for autoglacier delete. */
        static const char *const actions[] = {"s3:PutObject", "s3:GetObject",
                "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:RestoreObject",
                "s3:DeleteObject"};
        buf_adds(b, "        {\n            \"Effect\": \"Allow\",\n");
        add_actions(b, actions, ARRAY_SIZE(actions) - (write_only ? 2 : 0));
        buf_adds(b, "            \"Resource\": ");
        add_quoted(b, "%s/%s%s*", arn, prefix, *prefix ? "/" : "");
        buf_adds(b, "\n        }\n");
}

/* Source: "Actions, resources, and condition keys for Amazon S3 Glacier", likewise. */
static void add_vault(struct buf *b, const struct config *c, const char *vault, bool write_only)
{
        /* The first seven are what backups need; the rest is for init, restoring, deleting. */
        static const char *const actions[] = {"glacier:DescribeVault",
                "glacier:InitiateMultipartUpload", "glacier:UploadMultipartPart",
                "glacier:CompleteMultipartUpload", "glacier:ListParts",
                "glacier:ListMultipartUploads", "glacier:AbortMultipartUpload",
                "glacier:CreateVault", "glacier:InitiateJob", "glacier:ListJobs",
                "glacier:DescribeJob", "glacier:GetJobOutput", "glacier:DeleteArchive"};
        buf_adds(b, "        {\n            \"Effect\": \"Allow\",\n");
        add_actions(b, actions, write_only ? 7 : ARRAY_SIZE(actions));
        buf_addf(b, "            \"Resource\": \"arn:%s:glacier:%s:*:vaults/%s\"\n        }\n",
                partition(c), c->region_name ? c->region_name : "*", vault);
}

int reach_policy(const struct config *c, bool write_only, struct buf *ret, struct err *e)
{
        char bucket[64], prefix[512], arn[160];
        const char *vault = startswith(c->vault, "glacier://");
        if (vault) {
                buf_adds(ret, "{\n    \"Version\": \"2012-10-17\",\n    \"Statement\": [\n");
                add_vault(ret, c, vault, write_only);
                buf_adds(ret, "    ]\n}\n");
                return buf_oom(ret) ? err_oom(e) : 0;
        }
        if (!store_s3_parse(c->vault, bucket, sizeof bucket, prefix, sizeof prefix))
                return err_set(e, -ENOTSUP, "the store %s needs no policy", c->vault);
        (void)snprintf(arn, sizeof arn, "arn:%s:s3:::%s", partition(c), bucket); /* fits */
        buf_adds(ret, "{\n    \"Version\": \"2012-10-17\",\n    \"Statement\": [\n");
        add_bucket(ret, arn, prefix);
        add_objects(ret, arn, prefix, write_only);
        buf_adds(ret, "    ]\n}\n");
        return buf_oom(ret) ? err_oom(e) : 0;
}
