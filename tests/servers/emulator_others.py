"""What other people's servers have not got, or do otherwise than Amazon: the setting `lacks` is a list of these names.

    ListParts, ListMultipartUploads, …   the operation: 501 NotImplemented (s3rver answers 405 and 501)
    conditions       If-None-Match when something is written: 501 (OpenStack Swift, s3rver)
    checksums        x-amz-checksum-…: the request is refused, by name (as Backblaze did)
    attributes       x-amz-optional-object-attributes: likewise
    sums             x-amz-checksum-…: ignored (OpenStack Swift, s3rver)
    classes          every storage class but STANDARD (OpenStack Swift, MinIO)
    lists2           the second version of lists: list-type=2 is ignored (old Ceph, appliances)
    encoding         encoding-type=url in lists: ignored (fauxqs)
    length           Content-Length in the answer to HEAD (proxies that compress)
"""
from emulator_model import ServiceError

WRITES = ("PutObject", "CompleteMultipartUpload")


def refuse(lacks, operation, headers):
    """Before the operation: what the server says that it has not got."""
    unknown = {"checksums": "x-amz-checksum-", "attributes": "x-amz-optional-object-attributes"}
    refused = [h for h in headers if any(h.startswith(start) for name, start in unknown.items() if name in lacks)]
    if operation in lacks:
        raise ServiceError(405 if operation == "ListParts" else 501,
                           "MethodNotAllowed" if operation == "ListParts" else "NotImplemented", "There is no such thing here.")
    if "conditions" in lacks and operation in WRITES and "if-none-match" in headers:
        raise ServiceError(501, "NotImplemented", "Conditional object PUTs are not supported.")
    if refused:
        raise ServiceError(400, "InvalidArgument", f"Unsupported header '{refused[0]}' received for this API call.")
    if "classes" in lacks and headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        raise ServiceError(400, "InvalidStorageClass", "The storage class you specified is not valid")


def ignore(lacks, params):
    """The parameters that are left."""
    def kept(name):
        return not ("encoding" in lacks and name == "EncodingType" or "sums" in lacks and name.startswith("Checksum"))
    return {name: value for name, value in params.items() if kept(name)}
