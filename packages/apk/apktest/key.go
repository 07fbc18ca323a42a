package apktest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
)

// Key is a test signing key. Its Name is the file name that signatures carry
// and that the public key has in a keyring: "test.rsa.pub".
type Key struct {
	Name    string
	Private *rsa.PrivateKey
}

var (
	keysMu sync.Mutex
	keys   = map[string]*Key{}
)

// NewKey returns the RSA-2048 key of that name. The key is a function of the
// name alone, so that signed bytes are the same in every run; it protects
// nothing. It takes about a quarter of a second the first time.
func NewKey(name string) *Key {
	keysMu.Lock()
	defer keysMu.Unlock()
	if k := keys[name]; k != nil {
		return k
	}
	k := &Key{Name: name, Private: deriveKey(name)}
	keys[name] = k
	return k
}

// Public returns the public half.
func (k *Key) Public() *rsa.PublicKey { return &k.Private.PublicKey }

// PublicPEM returns the public key as it stands in /etc/apk/keys.
func (k *Key) PublicPEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic(fmt.Sprintf("apktest: public key %s: %v", k.Name, err))
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// PrivatePEM returns the private key as abuild-keygen and melange write it
// (PKCS#1).
func (k *Key) PrivatePEM() []byte {
	der := x509.MarshalPKCS1PrivateKey(k.Private)
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
}

// Sign returns the PKCS#1 v1.5 signature of data. The algorithm is the word of
// the signature's file name: RSA (SHA-1), RSA256 or RSA512.
func (k *Key) Sign(algorithm string, data []byte) []byte {
	var hash crypto.Hash
	var digest []byte
	switch algorithm {
	case "RSA":
		d := sha1.Sum(data)
		hash, digest = crypto.SHA1, d[:]
	case "RSA256":
		d := sha256.Sum256(data)
		hash, digest = crypto.SHA256, d[:]
	case "RSA512":
		d := sha512.Sum512(data)
		hash, digest = crypto.SHA512, d[:]
	default:
		panic(fmt.Sprintf("apktest: signature algorithm %q: expected RSA, RSA256 or RSA512", algorithm))
	}
	sig, err := rsa.SignPKCS1v15(nil, k.Private, hash, digest)
	if err != nil {
		panic(fmt.Sprintf("apktest: sign with %s: %v", k.Name, err))
	}
	return sig
}

// deriveKey makes a valid RSA-2048 key from the name. The standard library
// generates keys from real randomness only.
func deriveKey(name string) *rsa.PrivateKey {
	one := big.NewInt(1)
	e := big.NewInt(65537)
	for attempt := 0; ; attempt++ {
		p := derivePrime(fmt.Sprintf("%s/%d/p", name, attempt))
		q := derivePrime(fmt.Sprintf("%s/%d/q", name, attempt))
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		k := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
			D:         d,
			Primes:    []*big.Int{p, q},
		}
		k.Precompute()
		if err := k.Validate(); err != nil {
			panic(fmt.Sprintf("apktest: derived key %s: %v", name, err))
		}
		return k
	}
}

// derivePrime returns the first prime at or after a 1024-bit number derived
// from seed.
func derivePrime(seed string) *big.Int {
	var raw []byte
	for block := uint32(0); len(raw) < 128; block++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint32([]byte(seed), block))
		raw = append(raw, h[:]...)
	}
	raw[0] |= 0xc0
	raw[127] |= 1
	p := new(big.Int).SetBytes(raw)
	for two := big.NewInt(2); !p.ProbablyPrime(8); {
		p.Add(p, two)
	}
	return p
}
