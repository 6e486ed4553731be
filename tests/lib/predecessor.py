"""What the Python program before this one made: for tests that read it. PyCryptodome, which it used itself, is needed."""


def seal(public_pem, plain):
    """A tar as it was encrypted: the wrapped key, nonce, tag, and AES-EAX of all of it."""
    from Cryptodome.Cipher import AES, PKCS1_OAEP
    from Cryptodome.PublicKey import RSA
    from Cryptodome.Random import get_random_bytes
    session = get_random_bytes(16)
    cipher = AES.new(session, AES.MODE_EAX)
    sealed, tag = cipher.encrypt_and_digest(plain)
    return PKCS1_OAEP.new(RSA.import_key(public_pem)).encrypt(session) + cipher.nonce + tag + sealed
