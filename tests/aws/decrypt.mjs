// Decrypts a sealed archive with Amazon's library: node decrypt.mjs KEY.pem FINGERPRINT IN OUT
// Prints the encryption context as JSON. Exits with 1 and the library's words when it refuses.
import { createReadStream, createWriteStream, readFileSync } from 'node:fs'
import { constants } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { buildClient, CommitmentPolicy, RawRsaKeyringNode } from '@aws-crypto/client-node'

const [keyPath, fingerprint, input, output] = process.argv.slice(2)
const { decryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const keyring = new RawRsaKeyringNode({
  keyNamespace: 'autoglacier',
  keyName: fingerprint,
  rsaKey: { privateKey: readFileSync(keyPath, 'utf8') },
  padding: constants.RSA_PKCS1_OAEP_PADDING,
  oaepHash: 'sha256',
})

try {
  const decrypt = decryptStream(keyring)
  decrypt.once('MessageHeader', (h) => console.log(JSON.stringify(h.encryptionContext)))
  await pipeline(createReadStream(input), decrypt, createWriteStream(output))
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
