package repository

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// generatedBits is the size of new keys, as abuild-keygen and melange make them.
const generatedBits = 4096

// GenerateKey makes a key pair for packages and indexes and writes it as abuild
// and melange do: the private key, not encrypted (PKCS #1), to name with mode
// 0600, the public one to name.pub with mode 0644. Signatures name the public
// file, so that its name matters: it must stand in /etc/apk/keys under it. Nothing
// is replaced.
func GenerateKey(name string) (err error) {
	if KeyName(name) == "" {
		return fmt.Errorf("key %q: expected a file name", name)
	}
	for _, n := range []string{name, name + ".pub"} {
		if _, err := os.Lstat(n); err == nil {
			return fmt.Errorf("key %s: %w", n, os.ErrExist)
		}
	}
	k, err := rsa.GenerateKey(rand.Reader, generatedBits)
	if err != nil {
		return fmt.Errorf("key %s: %w", name, err)
	}
	public, err := NewKey(KeyName(name)+".pub", &k.PublicKey)
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
	defer clear(private)
	if err := createKey(name, private, 0o600); err != nil {
		return err
	}
	if err := createKey(name+".pub", public.PEM(), 0o644); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// createKey writes a file that was not there; half a file does not stay.
func createKey(name string, b []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("key %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("key %w", err), os.Remove(name))
	}
	return nil
}
