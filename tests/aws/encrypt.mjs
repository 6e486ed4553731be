// Seals a file with Amazon's library as we do: node encrypt.mjs FRAME IN OUT {PUBLIC.pem FINGERPRINT}...
import { createReadStream, createWriteStream, readFileSync } from 'node:fs'
import { constants } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import {
  AlgorithmSuiteIdentifier,
  buildClient,
  CommitmentPolicy,
  MultiKeyringNode,
  RawRsaKeyringNode,
} from '@aws-crypto/client-node'

const [frameLength, input, output, ...keys] = process.argv.slice(2)
const { encryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const keyrings = []
for (let i = 0; i < keys.length; i += 2) {
  keyrings.push(
    new RawRsaKeyringNode({
      keyNamespace: 'autoglacier',
      keyName: keys[i + 1],
      rsaKey: { publicKey: readFileSync(keys[i], 'utf8') },
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: 'sha256',
    }),
  )
}
const keyring = new MultiKeyringNode({ generator: keyrings[0], children: keyrings.slice(1) })

const encrypt = encryptStream(keyring, {
  suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
  frameLength: Number(frameLength),
  encryptionContext: { archive: 'made by Amazon', format: '1' },
})
await pipeline(createReadStream(input), encrypt, createWriteStream(output))
