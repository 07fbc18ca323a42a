package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/policy"
	"github.com/cairn-dev/cairn/sign/verify"
)

// verifyFlags are the flags of verify.
type verifyFlags struct {
	policy      string
	keys        []string
	identities  []string
	patterns    []string
	issuer      string
	trustedRoot string
	threshold   int
	noLog       bool
	timestamps  int
	maxAge      time.Duration
	children    bool
	says        []string // --annotations
	as          string
	offline     bool
	containerd  bool
	plainHTTP   bool
	// containerd's own
	name, digest, mediaType string
}

func newVerify(a *app) *cobra.Command {
	var v verifyFlags
	cmd := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Verify the signatures and attestations of an image",
		Long: `Verify an image in a registry or in an OCI layout (DIR/), against a policy or
against the signers given as flags.

A tag is resolved once and the digest is printed; use that from then on. Both
formats are read: legacy signatures (.sig and .att tags) and Sigstore bundles.
Nothing but the image's registry is spoken to, and nobody at all for a layout.

Keys are trusted as they are. With --trusted-root, signatures must be in the
transparency log that it names; identities need one.

Exit codes: 5 a rule failed, 9 the image is not there or nothing is attached to
it, 6 the registry cannot be read, 3 the policy is wrong.

With --containerd, or when the program's name is cairn-verifier, the calling
convention is that of containerd's image verifiers: -name, -digest and
-stdin-media-type, a descriptor on standard input, the reason of a refusal on
standard output. The policy is then --policy, CAIRN_POLICY or
/etc/cairn/policy.yaml.`,
		Example: "  cairn verify --policy=policy.yaml ghcr.io/acme/app:1\n  cairn verify --key=cosign.pub ghcr.io/acme/app@sha256:…\n" +
			"  cairn verify --identity=release@acme.example --issuer=https://accounts.example.com --trusted-root=trusted_root.json out/",
		Args: func(cmd *cobra.Command, got []string) error {
			if v.containerd {
				return args(0, 0, "none with --containerd")(cmd, got)
			}
			return args(1, 1, "IMAGE")(cmd, got)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.containerd {
				return v.runContainerd(cmd.Context(), a)
			}
			return v.run(cmd, a, args[0])
		},
	}
	v.registerSigners(cmd)
	f := cmd.Flags()
	f.BoolVar(&v.offline, "offline", false, "refuse to speak to a registry: the image must be in a layout")
	f.BoolVar(&v.plainHTTP, "unsafe-plain-http", false, "speak plain HTTP to the registry")
	f.BoolVar(&v.containerd, "containerd", false, "containerd's calling convention")
	f.StringVar(&v.name, "name", "", "containerd: the image's `name`")
	f.StringVar(&v.digest, "digest", "", "containerd: the image's `digest`")
	f.StringVar(&v.mediaType, "stdin-media-type", "", "containerd: the `type` of what is on standard input")
	for _, name := range []string{"name", "digest", "stdin-media-type"} {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // the flag was made above
		}
	}
	return cmd
}

// registerSigners adds the flags that say whose signatures count and what else
// is required.
func (v *verifyFlags) registerSigners(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&v.policy, "policy", "", "policy `file`")
	f.StringArrayVar(&v.keys, "key", nil, "public key `file` whose signatures count; may be repeated")
	setAs(f, "key", "verify-key") // CAIRN_KEY is what sign signs with
	f.StringArrayVar(&v.identities, "identity", nil, "`subject` of certificates whose signatures count, exact; may be repeated")
	f.StringArrayVar(&v.patterns, "identity-regexp", nil, "regular `expression` for the whole of such subjects; may be repeated")
	f.StringVar(&v.issuer, "issuer", "", "OpenID Connect `issuer` of the identities, exact")
	f.StringVar(&v.trustedRoot, "trusted-root", "", "trusted_root.json `file` with the authorities and logs to trust")
	f.IntVar(&v.threshold, "threshold", 1, "how many different keys or identities must have signed")
	f.BoolVar(&v.noLog, "no-log", false, "accept signatures in no transparency log although --trusted-root names one")
	f.IntVar(&v.timestamps, "timestamps", 0, "RFC 3161 timestamps that a signature must have")
	f.DurationVar(&v.maxAge, "max-age", 0, "the oldest signature that counts, by its signed time")
	f.BoolVar(&v.children, "children", false, "require that every manifest of an index is signed as well")
	f.StringArrayVarP(&v.says, "annotations", "a", nil, "`name=value` that signatures must say beside the image; may be repeated")
	f.StringVar(&v.as, "as", "", "`repository` to look for in the policy instead of the image's; needed for a layout")
}

func (v *verifyFlags) run(cmd *cobra.Command, a *app, image string) error {
	o, err := v.options(a)
	if err != nil {
		return err
	}
	if v.offline {
		ref, err := target.Parse(image)
		if err != nil {
			return err
		}
		if !ref.IsLayout() {
			return fmt.Errorf("%s: %w: it is in a registry and --offline is set\nhint: give an OCI layout, DIR/", image, target.ErrUnreachable)
		}
	}
	verdict, err := sign.Verify(cmd.Context(), a.image(image), o)
	if err != nil {
		return err
	}
	if err := v.print(a, verdict); err != nil {
		return err
	}
	if verdict.Outcome != verify.Passed {
		return &sign.Refused{Verdict: verdict}
	}
	return nil
}

func (v *verifyFlags) print(a *app, verdict *verify.Verdict) error {
	return render(a.std.out, format(a.format), verdict, nil, func(w io.Writer) error {
		return verdict.WriteText(w)
	})
}

// options checks the flags and reads the files that they name.
func (v *verifyFlags) options(a *app) (sign.VerifyOptions, error) {
	o := sign.VerifyOptions{As: v.as, Target: v.target()}
	direct := len(v.keys) + len(v.identities) + len(v.patterns)
	switch {
	case v.policy != "" && direct > 0:
		return o, usageError{errors.New("--policy: found --key or --identity as well, expected one way to say whose signatures count")}
	case v.policy != "":
		if err := v.onlyDirect(); err != nil {
			return o, err
		}
		var err error
		o.Policy, err = policy.Load(a.at(v.policy))
		return o, err
	case direct == 0:
		return o, usageError{errors.New("no signers: expected --policy, --key or --identity with --issuer\nhint: cairn policy init writes a policy to begin with")}
	}
	var err error
	o.Entry, err = v.entry(a)
	return o, err
}

func (v *verifyFlags) target() target.Options {
	return target.Options{Keychain: authn.DefaultKeychain, Insecure: v.plainHTTP}
}

// onlyDirect refuses flags that a policy has keys for.
func (v *verifyFlags) onlyDirect() error {
	for name, set := range map[string]bool{
		"trusted-root": v.trustedRoot != "", "no-log": v.noLog, "children": v.children, "annotations": len(v.says) > 0,
		"timestamps": v.timestamps != 0, "max-age": v.maxAge != 0, "threshold": v.threshold != 1, "issuer": v.issuer != "",
	} {
		if set {
			return usageError{fmt.Errorf("--%s: the policy says that, expected it without --policy only", name)}
		}
	}
	return nil
}

func (v *verifyFlags) entry(a *app) (*policy.Entry, error) {
	r := policy.Requirements{Threshold: v.threshold, MaxAge: v.maxAge, Children: v.children}
	var err error
	if r.Annotations, err = annotationsOf(v.says); err != nil {
		return nil, err
	}
	for _, file := range v.keys {
		text, err := os.ReadFile(a.at(file))
		if err != nil {
			return nil, err
		}
		key, err := verify.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", file, errBadKey, err)
		}
		r.Signers = append(r.Signers, verify.Signer{Name: file, Key: key})
	}
	for i, subject := range append(append([]string{}, v.identities...), v.patterns...) {
		exact, pattern := subject, ""
		if i >= len(v.identities) {
			exact, pattern = "", subject
		}
		id, err := verify.NewIdentity(v.issuer, exact, pattern)
		if err != nil {
			return nil, usageError{fmt.Errorf("--identity: %s", strings.TrimPrefix(err.Error(), "identity: "))}
		}
		r.Signers = append(r.Signers, verify.Signer{Name: subject, Identity: id})
	}
	if err := v.trust(a, &r); err != nil {
		return nil, err
	}
	e, err := policy.Direct(r)
	if err != nil {
		return nil, usageError{err}
	}
	return e, nil
}

// errBadKey is wrapped when a key file holds no public key.
var errBadKey = errors.New("bad key")

func (v *verifyFlags) trust(a *app, r *policy.Requirements) error {
	if v.trustedRoot == "" {
		if v.noLog {
			return usageError{errors.New("--no-log: there is no --trusted-root whose log could be required")}
		}
		r.Trust.Timestamps = v.timestamps
		return nil
	}
	tr, err := verify.ReadTrustedRoot(a.at(v.trustedRoot))
	if err != nil {
		return err
	}
	r.Trust = verify.NewTrust(tr)
	r.Trust.Timestamps = v.timestamps
	if v.noLog {
		r.Trust.Log = 0
	}
	return nil
}
