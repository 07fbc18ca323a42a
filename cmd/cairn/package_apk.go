package main

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/tree"
)

// packageKeys are the flags of commands that verify packages or indexes.
type packageKeys struct{ files []string }

func (k *packageKeys) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVarP(&k.files, "keyring", "k", nil, "public key `files` to verify signatures with")
}

// keyring reads the keys; nil without any.
func (k *packageKeys) keyring(a *app) (*repository.Keyring, error) {
	if len(k.files) == 0 {
		return nil, nil
	}
	ring := repository.NewKeyring()
	for _, name := range k.files {
		b, err := os.ReadFile(a.at(name))
		if err != nil {
			return nil, err
		}
		key, err := repository.ParseKey(name, b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadKey, err)
		}
		ring.Add(key)
	}
	return ring, nil
}

// lookup is the keyring as opening a package wants it.
func lookup(ring *repository.Keyring) func(string) *rsa.PublicKey {
	return func(name string) *rsa.PublicKey {
		if keys := ring.Lookup(name); len(keys) > 0 {
			return keys[0].Public
		}
		return nil
	}
}

// signingKeys are the flags of commands that sign packages or indexes.
type signingKeys struct{ files []string }

func (k *signingKeys) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&k.files, "signing-key", nil, "private key `files` to sign with (cairn key generate --apk)")
}

func (k *signingKeys) load(a *app) ([]repository.SigningKey, error) {
	var out []repository.SigningKey
	for _, name := range k.files {
		b, err := os.ReadFile(a.at(name))
		if err != nil {
			return nil, err
		}
		key, err := repository.ParseSigningKey(name, b)
		clear(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadKey, err)
		}
		out = append(out, key)
	}
	return out, nil
}

func newPackageSign(a *app) *cobra.Command {
	var keys signingKeys
	cmd := &cobra.Command{
		Use:   "sign APK...",
		Short: "Sign packages",
		Long: `Sign package files with RSA and SHA-256, in place. Signatures that a package has
are replaced; several keys make several signatures. The control and the data
section stay byte for byte, so that the package's checksum and its layer digest
do not change.

A package whose data section is not the one that its control section names is
not signed.`,
		Example: "  cairn package sign hello-1.0-r0.apk --signing-key me.rsa",
		Args:    args(1, -1, "package files"),
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(keys.files) == 0 {
				return usageError{errors.New("--signing-key: missing")}
			}
			private, err := keys.load(a)
			if err != nil {
				return err
			}
			for _, name := range files {
				if err := pack.Sign(cmd.Context(), a.at(name), private); err != nil {
					return err
				}
			}
			type row struct {
				Path string   `json:"path"`
				Keys []string `json:"keys"`
			}
			var rows []row
			for _, name := range files {
				r := row{Path: name}
				for _, k := range private {
					r.Keys = append(r.Keys, k.Name)
				}
				rows = append(rows, r)
			}
			return render(a.std.out, format(a.format), rows, elements(rows), func(w io.Writer) error {
				for _, r := range rows {
					if _, err := fmt.Fprintln(w, r.Path); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	keys.register(cmd)
	return cmd
}

// verifiedPackage is what package verify says of one file.
type verifiedPackage struct {
	Path     string `json:"path"`
	Package  string `json:"package"`
	Checksum string `json:"checksum"` // of the control section
	DataHash string `json:"dataHash"`
	SHA256   string `json:"sha256"` // of the file
	Files    int    `json:"files"`
	SignedBy string `json:"signedBy,omitempty"`
	Rebuilt  bool   `json:"rebuilt,omitempty"` // to the same bytes
}

func newPackageVerify(a *app) *cobra.Command {
	var keys packageKeys
	var unsigned bool
	var again packageProve
	cmd := &cobra.Command{
		Use:   "verify APK...",
		Short: "Verify packages",
		Long: `Verify package files: the signature by one of the keys given with --keyring, the
hash of the data section against the control section, the checksum of every file
and, where the package names one, the diff ID of its layer.

With --rebuild FILE one package is also held against its provenance and made again from
its definition, as by cairn package prove --rebuild; environments then come from
--repository-append, whose indexes are verified with the same keys.

Exit codes: 5 something does not match or no known key signed.`,
		Example: "  cairn package verify hello-1.0-r0.apk --keyring me.rsa.pub\n  cairn package verify hello-1.0-r0.apk --keyring me.rsa.pub,wolfi-signing.rsa.pub --rebuild hello.yaml -r https://packages.wolfi.dev/os",
		Args:    args(1, -1, "package files"),
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(keys.files) == 0 && !unsigned {
				return usageError{errors.New("--keyring: missing\nhint: --unsafe-unsigned leaves signatures out")}
			}
			if again.rebuild != "" && len(files) != 1 {
				return usageError{fmt.Errorf("--rebuild: found %d packages, expected one", len(files))}
			}
			ring, err := keys.keyring(a)
			if err != nil {
				return err
			}
			var rows []verifiedPackage
			for _, name := range files {
				p, err := tree.OpenPackage(cmd.Context(), a.at(name), tree.PackageOptions{Key: lookup(ring)})
				if err != nil {
					return err
				}
				row, err := verifyPackage(name, p, unsigned)
				if err := errors.Join(err, p.Close()); err != nil {
					return err
				}
				rows = append(rows, row)
			}
			if again.rebuild != "" {
				again.keyring = keys.files
				if _, err := again.prove(cmd.Context(), a, files[0]); err != nil {
					return err
				}
				rows[0].Rebuilt = true
			}
			return render(a.std.out, format(a.format), rows, elements(rows), func(w io.Writer) error {
				for _, r := range rows {
					by := "not verified"
					if r.SignedBy != "" {
						by = "signed by " + r.SignedBy
					}
					if r.Rebuilt {
						by += ", built again: the same bytes"
					}
					if _, err := fmt.Fprintf(w, "%s: %s, %d files, %s\n", r.Path, r.Package, r.Files, by); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	keys.register(cmd)
	again.registerProof(cmd)
	cmd.Flags().BoolVar(&unsigned, "unsafe-unsigned", false, "accept packages that no known key signed")
	return cmd
}

func verifyPackage(name string, p *tree.Package, unsigned bool) (verifiedPackage, error) {
	r := p.Receipt
	if err := pack.CheckReceipt(r, unsigned); err != nil {
		return verifiedPackage{}, fmt.Errorf("%s: %w", name, err)
	}
	return verifiedPackage{name, r.ID(), r.Package.Checksum.String(), r.DataHash.String(), r.FileSHA256.String(), len(r.Entries), r.SignedBy, false}, nil
}
