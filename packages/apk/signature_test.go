package apk_test

import (
	"crypto"
	"errors"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestVerifySignature(t *testing.T) {
	key, other := apktest.NewKey("one.rsa.pub"), apktest.NewKey("two.rsa.pub")
	for _, algorithm := range []string{"RSA", "RSA256", "RSA512"} {
		s := spec()
		s.Sign, s.Algorithm = key, algorithm
		h, _, err := readHead(apktest.Build(s))
		if err != nil {
			t.Fatal(err)
		}
		sig, err := apk.VerifySignature(key.Public(), h.Signature, h.Control)
		if err != nil || sig.Algorithm != algorithm || sig.KeyName != "one.rsa.pub" {
			t.Errorf("%s: %+v, %v", algorithm, sig, err)
		}
		want := algorithm + " signature of key one.rsa.pub: signature does not match"
		if _, err := apk.VerifySignature(other.Public(), h.Signature, h.Control); !errors.Is(err, apk.ErrSignature) || err.Error() != want {
			t.Errorf("%s: other key: %v", algorithm, err)
		}
		if _, err := apk.VerifySignature(key.Public(), h.Signature, h.Control[1:]); !errors.Is(err, apk.ErrSignature) {
			t.Errorf("%s: other bytes: %v", algorithm, err)
		}
		s.WrongSignature = true
		h, _, _ = readHead(apktest.Build(s))
		if _, err := apk.VerifySignature(key.Public(), h.Signature, h.Control); !errors.Is(err, apk.ErrSignature) {
			t.Errorf("%s: wrong signature: %v", algorithm, err)
		}
	}
}

// signatureMember returns a member with one signature file.
func signatureMember(name string, body []byte) []byte {
	return apktest.Gzip(apktest.CutTar([]apktest.File{{Path: name, Content: string(body)}}))
}

func TestVerifySignatureErrors(t *testing.T) {
	key := apktest.NewKey("one.rsa.pub")
	data := []byte("signed")
	good := key.Sign("RSA", data)
	for name, c := range map[string]struct {
		member []byte
		want   string
		is     error
	}{
		"DSA":                           {signatureMember(".SIGN.DSA.one.rsa.pub", good), `signature of key one.rsa.pub: algorithm "DSA", expected RSA, RSA256 or RSA512: signature algorithm is not supported`, apk.ErrAlgorithm},
		"unknown":                       {signatureMember(".SIGN.ED25519.k", good), `signature of key k: algorithm "ED25519", expected RSA, RSA256 or RSA512: signature algorithm is not supported`, apk.ErrAlgorithm},
		"lowercase":                     {signatureMember(".SIGN.rsa.k", good), `signature of key k: algorithm "rsa", expected RSA, RSA256 or RSA512: signature algorithm is not supported`, apk.ErrAlgorithm},
		"other hash under another name": {signatureMember(".SIGN.RSA256.k", good), "RSA256 signature of key k: signature does not match", apk.ErrSignature},
		"empty signature":               {signatureMember(".SIGN.RSA.k", nil), "RSA signature of key k: signature does not match", apk.ErrSignature},
		"no signature":                  {nil, "no signature: signature does not match", apk.ErrSignature},
		"traversal":                     {signatureMember(".SIGN.RSA...", good), `signature file ".SIGN.RSA...": expected .SIGN.ALGORITHM.KEYNAME: not an apk v2 file`, apk.ErrNotPackage},
		"no key":                        {signatureMember(".SIGN.RSA", good), `signature file ".SIGN.RSA": expected .SIGN.ALGORITHM.KEYNAME: not an apk v2 file`, apk.ErrNotPackage},
		"no algorithm":                  {signatureMember(".SIGN..k", good), `signature file ".SIGN..k": expected .SIGN.ALGORITHM.KEYNAME: not an apk v2 file`, apk.ErrNotPackage},
	} {
		_, err := apk.VerifySignature(key.Public(), c.member, data)
		if err == nil || err.Error() != c.want || !errors.Is(err, c.is) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
	// A valid signature counts although one before it is of another algorithm.
	both := append(signatureMember(".SIGN.DSA.k", []byte("x")), signatureMember(".SIGN.RSA.k", good)...)
	if s, err := apk.VerifySignature(key.Public(), both, data); err != nil || s.Hash() != crypto.SHA1 {
		t.Errorf("second signature: %+v, %v", s, err)
	}
	// What failed to match says more than what could not be tried.
	mixed := append(signatureMember(".SIGN.RSA.k", []byte("x")), signatureMember(".SIGN.DSA.k", good)...)
	if _, err := apk.VerifySignature(key.Public(), mixed, data); !errors.Is(err, apk.ErrSignature) {
		t.Errorf("mixed: %v", err)
	}
}
