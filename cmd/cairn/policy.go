package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/sign/policy"
)

func newPolicy(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Write, check and export policies",
		Long:  `Write, check and export the policies that verify and serve admission apply.`,
	}
	cmd.AddCommand(newPolicyInit(a), newPolicyCheck(a), newPolicyExport(a), newPolicySchema(a))
	return cmd
}

func newPolicyInit(a *app) *cobra.Command {
	var key, identity, issuer, root string
	cmd := &cobra.Command{
		Use:     "init PATTERN",
		Short:   "Print a policy to begin with",
		Long:    `Print a policy for the images that PATTERN matches, such as "ghcr.io/acme/**".`,
		Example: "  cairn policy init --key=cosign.pub 'ghcr.io/acme/**' > policy.yaml",
		Args:    args(1, 1, "PATTERN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case key == "" && identity == "":
				return usageError{errors.New("no signer: expected --key, or --identity with --issuer and --trusted-root")}
			case (identity == "") != (issuer == ""):
				return usageError{errors.New("--identity and --issuer: found one, expected both")}
			case identity != "" && root == "":
				return usageError{errors.New("--identity: expected --trusted-root as well, to check certificates with")}
			}
			_, err := io.WriteString(a.std.out, policy.Starter(args[0], key, [2]string{issuer, identity}, root))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "public key `file`, from the policy's directory")
	setAs(f, "key", "verify-key")
	f.StringVar(&identity, "identity", "", "`subject` of the signer's certificates")
	f.StringVar(&issuer, "issuer", "", "OpenID Connect `issuer` of the identity")
	f.StringVar(&root, "trusted-root", "", "trusted_root.json `file`, from the policy's directory")
	return cmd
}

// checkedPolicy is the result of policy check.
type checkedPolicy struct {
	Policy  string   `json:"policy"`
	Hash    string   `json:"hash"`
	Entries []string `json:"entries"`
	// Match is the entry for the image that was asked about.
	Match string `json:"match,omitempty"`
}

func newPolicyCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check POLICY [IMAGE]",
		Short: "Check a policy and the files it names",
		Long: `Check a policy and the files it names, and print its hash and its entries; with
IMAGE, which entry decides about it. Nothing is fetched.`,
		Example: "  cairn policy check policy.yaml ghcr.io/acme/app",
		Args:    args(1, 2, "POLICY [IMAGE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := policy.Load(a.at(args[0]))
			if err != nil {
				return err
			}
			c := checkedPolicy{Policy: p.Name, Hash: p.Hash, Entries: []string{}}
			for _, e := range p.Entries {
				c.Entries = append(c.Entries, e.Name)
			}
			if len(args) > 1 {
				c.Match = "none: the image is refused"
				if e := p.For(policy.Repository(args[1])); e != nil {
					c.Match = e.Name
				}
			}
			return render(a.std.out, format(a.format), c, nil, func(w io.Writer) error {
				fmt.Fprintf(w, "%s is in order\nhash %s\n", c.Policy, c.Hash)
				for _, e := range c.Entries {
					fmt.Fprintf(w, "entry %s\n", e)
				}
				if c.Match != "" {
					fmt.Fprintf(w, "%s: %s\n", args[1], c.Match)
				}
				return nil
			})
		},
	}
}

func newPolicyExport(a *app) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "export POLICY",
		Short: "Spell a policy's signers for another verifier",
		Long: `Spell the signers of a policy for Kyverno, Sigstore's policy-controller or
containers-policy.json(5). What the other verifier cannot express is said on
standard error; where leaving it out would let more images in, the exported
policy refuses them.`,
		Example: "  cairn policy export --to=kyverno policy.yaml",
		Args:    args(1, 1, "POLICY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(policy.Exports, to) {
				return usageError{fmt.Errorf("--to: found %q, expected %s", to, strings.Join(policy.Exports, ", "))}
			}
			p, err := policy.Load(a.at(args[0]))
			if err != nil {
				return err
			}
			out, notes, err := p.Export(to)
			if err != nil {
				return err
			}
			for _, n := range notes {
				fmt.Fprintf(a.std.err, "note: %s\n", n)
			}
			_, err = a.std.out.Write(out)
			return err
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`format`: kyverno, policy-controller or containers-policy")
	return cmd
}

func newPolicySchema(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON schema of policies",
		Long:    `Print the JSON schema of policies, for editors.`,
		Example: "  cairn policy schema > policy.schema.json",
		Args:    args(0, 0, "none"),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.std.out.Write(policy.Schema())
			return err
		},
	}
}
