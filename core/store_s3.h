/* store_s3.h - a store in a bucket: Amazon S3 with any of its classes, or a service that speaks as
 * it.
 *
 * Floor 4. Objects go in parts, each with its SHA-256 as payload hash and as x-amz-checksum-sha256;
 * what the service has is asked after Complete. Volumes get the storage class, index objects
 * STANDARD, so that they can always be read. Names stand below the URL's prefix. No call is tried
 * again here: store_retry.h. Lists are in the order of names' bytes.
 *
 * What services of others refuse or do not say is done without, and learned once for a store:
 * conditions, checksums and other headers, ListParts (an upload that is resumed is aborted and told
 * as gone), the length in an answer to HEAD.
 *
 * Source: Amazon S3 API Reference (CreateMultipartUpload, UploadPart, CompleteMultipartUpload,
 * ListParts, ListMultipartUploads, ListObjectsV2, HeadObject, GetObject, RestoreObject), and what
 * Ceph's gateway, OpenStack Swift and others do otherwise. */
#pragma once

#include "store.h"

struct config;

/* `url` is "s3://bucket" or "s3://bucket/prefix". `config` (NULL: nothing but the environment) must
 * outlive the store; endpoint, region, keys, PATH_STYLE and ALLOW_HTTP come from it. Sends nothing
 * yet. -EINVAL in words. */
int store_s3_new(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e);

/* For checks before the first commit (reach.h): a round trip without side effects. The service's
 * clock before ours, ns; 0 if they agree. */
int64_t store_s3_skew(struct store *s);
/* Likewise: asks for an object that is not there, which starts nothing and costs nothing. 0: it was
 * looked for, so cold ones may be asked for. -EACCES with the right that is missing; -ENOTSUP the
 * store's class is not cold. */
int store_s3_may_thaw(struct store *s, const char *name, struct err *e);
/* Bucket and prefix ("" if none) of such a store's URL; false if it is no s3:// URL. */
bool store_s3_parse(
        const char *url, char *bucket, size_t bucket_size, char *prefix, size_t prefix_size);
