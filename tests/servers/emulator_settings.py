"""What of the emulator can be set, and what it is otherwise."""

DEFAULTS = {
    "region": "us-east-1",      # of vaults, and of buckets made without a location
    "min_part": 5 << 20,        # bytes; of all parts but the last (S3)
    "page": 1000,               # at most so many entries a page
    "stuck_pages": False,       # each page of a vault's list is the first one
    "thaw_seconds": 0,          # how long RestoreObject takes
    "job_seconds": 0,           # how long a vault's jobs take
    "day_seconds": 86400,       # how long one of RestoreRequest's Days is
    "inventory_every": 0,       # a vault's inventory is made so often; 0: always fresh
    "upload_idle": 86400,       # a vault's upload is gone so long after its last part
    "output_life": 86400,       # a job's output is gone so long after the job is done
    "no_vaults": False,         # an account that may not use vaults
    "accept_skew": 900,         # seconds that a request's date may be off
    "clock_skew": 0,            # seconds that this server's clock is ahead (Date, signatures)
    "lacks": [],                # what another service has not got, see emulator_others.py
    "seed": 1,                  # of the faults that are drawn
}
