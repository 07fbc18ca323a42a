package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign/keys"
)

func newKey(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make and show the keys that images are signed with",
	}
	cmd.AddCommand(newKeyGenerate(a), newKeyPublic(a))
	return cmd
}

func newKeyGenerate(a *app) *cobra.Command {
	var prefix string
	var packages bool
	var in keyFlags
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make a key pair for signing images or packages",
		Long: `Make a key pair for signing images, as cosign makes them: PREFIX.key, encrypted
with a password and readable by its owner only, and PREFIX.pub. Nothing is
replaced.

The password is read from the file of --password-file, from CAIRN_PASSWORD or
COSIGN_PASSWORD, or asked for at the terminal, twice.

With --apk, a key pair for packages and their indexes, as abuild-keygen and
melange make them: PREFIX.rsa, RSA of 4096 bits, not encrypted and readable by
its owner only, and PREFIX.rsa.pub, which belongs into /etc/apk/keys under that
name.`,
		Example: "  cairn key generate --output release\n  cairn key generate --apk --output me@example.com-5f3c",
		Args:    args(0, 0, "none"),
		RunE: func(*cobra.Command, []string) error {
			if packages {
				return generateAPKKey(a, prefix)
			}
			o := in.options(a)
			password, err := o.NewPassword("Password for the new key " + prefix + ".key")
			if err != nil {
				return err
			}
			defer clear(password)
			pair, err := keys.Generate(password)
			if err != nil {
				return err
			}
			if err := pair.Write(a.at(prefix)); err != nil {
				return err
			}
			return renderPair(a, prefix+".key", prefix+".pub")
		},
	}
	cmd.Flags().StringVarP(&prefix, "output", "o", "cairn", "`prefix` of the two files")
	cmd.Flags().BoolVar(&packages, "apk", false, "make a key pair for packages and indexes")
	in.register(cmd)
	return cmd
}

func generateAPKKey(a *app, prefix string) error {
	name := strings.TrimSuffix(prefix, ".rsa") + ".rsa"
	if err := repository.GenerateKey(a.at(name)); err != nil {
		return err
	}
	return renderPair(a, name, name+".pub")
}

// renderPair prints where the two halves of a new key are.
func renderPair(a *app, private, public string) error {
	r := struct {
		Private string `json:"private"`
		Public  string `json:"public"`
	}{private, public}
	return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n%s\n", r.Private, r.Public)
		return err
	})
}

func newKeyPublic(a *app) *cobra.Command {
	var key string
	var in keyFlags
	cmd := &cobra.Command{
		Use:     "public --key KEY",
		Short:   "Print the public half of a private key",
		Long:    "Print the public half of a private key, in PEM. KEY is a file, env://VARIABLE, or\nscheme://… for the plugin sigstore-kms-scheme.",
		Example: "  cairn key public --key release.key > release.pub",
		Args:    args(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if key == "" {
				return usageError{fmt.Errorf("--key: expected a file, env://VARIABLE or scheme://…")}
			}
			k, err := keys.Load(cmd.Context(), a.key(key), in.options(a))
			if err != nil {
				return err
			}
			pem, err := keys.MarshalPublic(k.Public())
			if err != nil {
				return err
			}
			r := struct {
				Public string `json:"public"`
			}{string(pem)}
			return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
				_, err := w.Write(pem)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "private `key`: a file, env://VARIABLE or scheme://…")
	in.register(cmd)
	return cmd
}

// keyFlags are the flags of every command that reads a private key.
type keyFlags struct{ passwordFile string }

func (k *keyFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.passwordFile, "password-file", "", "`file` with the key's password (default CAIRN_PASSWORD, COSIGN_PASSWORD or the terminal)")
}

func (k *keyFlags) options(a *app) keys.Options {
	return keys.Options{LookupEnv: os.LookupEnv, PasswordFile: a.at(k.passwordFile), Prompt: prompt(a)}
}

// prompt asks at the terminal; nil when there is none.
func prompt(a *app) func(string) ([]byte, error) {
	f, ok := a.std.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(text string) ([]byte, error) {
		fmt.Fprintf(a.std.err, "%s: ", text)
		defer fmt.Fprintln(a.std.err)
		return term.ReadPassword(int(f.Fd()))
	}
}
