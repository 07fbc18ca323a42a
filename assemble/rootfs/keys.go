package rootfs

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
)

// runtimeKeys writes the keys of contents.runtime_keyring. One that is there
// already under the same name must be the same key.
func (b *builder) runtimeKeys() error {
	for i, k := range b.cfg.Contents.RuntimeKeyring {
		key := fmt.Sprintf("%s[%d]", generatorRuntime, i)
		if err := b.runtimeKey(key, k.Name, k.Content); err != nil {
			return &ConfigError{key, fmt.Errorf("name %q: %w", k.Name, err)}
		}
	}
	return nil
}

func (b *builder) runtimeKey(key, name, content string) error {
	if err := checkKeyName(name); err != nil {
		return err
	}
	encoded, err := publicKey(content)
	if err != nil {
		return err
	}
	at, err := b.parentOf("etc/apk/keys/" + name)
	if err != nil {
		return err
	}
	if at.node == nil {
		return b.configFile("etc/apk/keys/"+name, key, 0o644, encoded, 0, 0)
	}
	if at.node.ino.typ != apk.TypeFile {
		return fmt.Errorf("something else has this name in /etc/apk/keys, owned by %s", b.ownerOf(at.node).Name)
	}
	there, err := b.read(at.node)
	if err != nil {
		return err
	}
	if other, err := publicKey(string(there)); err != nil || !bytes.Equal(other, encoded) {
		return fmt.Errorf("/etc/apk/keys has another key of this name, owned by %s", b.ownerOf(at.node).Name)
	}
	return nil
}

// baseHasKey tells whether the base image has the key already; another one of the
// same name is an error, because one of the two would be lost.
func (b *builder) baseHasKey(name string) (bool, error) {
	at, err := b.lookup("etc/apk/keys/"+name, true)
	if err != nil || at.node == nil || !b.unchanged(at.node.ino) {
		return false, nil
	}
	there, err := b.read(at.node)
	if err != nil {
		return false, err
	}
	had, errHad := publicKey(string(there))
	now, errNow := publicKey(string(b.in.Keys[name]))
	if errHad != nil || errNow != nil || !bytes.Equal(had, now) {
		return false, errors.New("the base image has another key of this name in /etc/apk/keys")
	}
	return true, nil
}

// publicKey reads one RSA public key in PEM form and returns it encoded anew,
// without comments and headers.
func publicKey(text string) ([]byte, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("content: expected a public key in PEM form")
	case block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("content: PEM block %q: expected PUBLIC KEY", block.Type)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("content: more than one PEM block: expected one public key")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("content: public key: %w", err)
	}
	if _, ok := pub.(*rsa.PublicKey); !ok {
		return nil, fmt.Errorf("content: public key of type %T: expected RSA", pub)
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), nil
}
