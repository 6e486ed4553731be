#include "keys_sheet.h"

#include "buf.h"

/* 64 digits that are compared by eye, in groups of eight. */
static void add_fingerprint(struct buf *b, const char *fingerprint)
{
        for (size_t i = 0; fingerprint[i]; i++) {
                if (i % 32 == 0)
                        buf_adds(b, i == 0 ? "    " : "\n    ");
                else if (i % 8 == 0)
                        buf_addc(b, ' ');
                buf_addc(b, fingerprint[i]);
        }
        buf_addc(b, '\n');
}

static const char HEAD[] =
        "AUTOGLACIER RECOVERY SHEET\n"
        "\n"
        "Your archives are encrypted. Whoever has the private key and its passphrase\n"
        "can read them; without the private key nobody can, you included. There is no\n"
        "way around it and no one to ask. So keep the key where a fire, a theft or a\n"
        "dead disk that takes this computer does not take the key as well.\n"
        "\n";

static const char KEEP[] =
        "\n"
        "KEEP\n"
        "\n"
        "  1. The private key: two copies, in two places, neither on this computer.\n"
        "     For example on a USB stick at home and another one with somebody you\n"
        "     trust, or printed: it is plain text and can be typed in again.\n"
        "  2. Its passphrase, if it has one: written down, not beside the key.\n"
        "  3. This sheet, with a note of where the archives are (the folder, or the\n"
        "     bucket with its region and account) and who can get in there.\n"
        "\n"
        "Once a copy is safe, the private key may leave this computer: making archives\n"
        "takes the public key alone.\n";

static const char PROVE[] =
        "\n"
        "PROVE IT, now and once a year: take a copy from its place and run\n"
        "\n"
        "    autoglacier verify --key /path/to/the/copy.pem\n"
        "\n"
        "It says whether this copy opens your archives.\n"
        "\n"
        "WHEN THIS COMPUTER IS GONE\n"
        "\n"
        "Get the files of an archive from the store (one or several, which end in\n"
        ".esdk), and on any computer with autoglacier run\n"
        "\n"
        "    autoglacier decrypt --key /path/to/the/copy.pem -o NAME.tar.xz ID-*.esdk\n"
        "\n"
        "Without autoglacier: the short Python program rescue.py, which comes with it,\n"
        "does the same. And the files are AWS Encryption SDK messages (version 2, suite\n"
        "0x0478, raw RSA with OAEP and SHA-256, key namespace \"autoglacier\", key name\n"
        "= the fingerprint above): Amazon's libraries open them. What comes out is an\n"
        "ordinary compressed tar file.\n";

void keys_recovery_sheet(
        const char *private_path, const char *public_path, const char *fingerprint, struct buf *ret)
{
        buf_adds(ret, HEAD);
        buf_addf(ret, "    private key   %s\n", private_path);
        buf_addf(ret, "    public key    %s\n", public_path);
        buf_adds(ret, "\nFingerprint of the key (it names the key in every archive):\n\n");
        add_fingerprint(ret, fingerprint);
        buf_adds(ret, KEEP);
        buf_adds(ret, PROVE);
}
