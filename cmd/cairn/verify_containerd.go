package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/policy"
	"github.com/cairn-dev/cairn/sign/verify"
)

// verifierName is the program name that means verify --containerd.
const verifierName = "cairn-verifier"

// systemPolicy is the policy of a node.
const systemPolicy = "/etc/cairn/policy.yaml"

// maxDescriptor bounds what containerd writes to standard input, in bytes.
const maxDescriptor = 64 << 10

// containerdArgs spells containerd's one-dash flags with two, where its calling
// convention is used: by the program's name or by verify --containerd.
func containerdArgs(program string, args []string) []string {
	if filepath.Base(program) == verifierName {
		args = append([]string{"verify", "--containerd"}, args...)
	}
	if len(args) < 2 || args[0] != "verify" || args[1] != "--containerd" {
		return args
	}
	out := append([]string{}, args[:2]...)
	for _, a := range args[2:] {
		for _, name := range []string{"name", "digest", "stdin-media-type"} {
			if a == "-"+name || strings.HasPrefix(a, "-"+name+"=") {
				a = "-" + a
			}
		}
		out = append(out, a)
	}
	return out
}

// runContainerd decides about one pull. Whatever is wrong, the reason is the
// one line on standard output that containerd shows.
func (v *verifyFlags) runContainerd(ctx context.Context, a *app) error {
	reason, err := v.decide(ctx, a)
	if err != nil && reason == "" {
		reason = err.Error()
	}
	fmt.Fprintln(a.std.out, strings.Join(strings.Fields(reason), " "))
	return err
}

func (v *verifyFlags) decide(ctx context.Context, a *app) (string, error) {
	if v.name == "" || v.digest == "" {
		return "", usageError{errors.New("containerd: -name and -digest are missing")}
	}
	// containerd writes the descriptor and waits for it to be taken. What is in
	// it is known from the flags.
	if _, err := io.Copy(io.Discard, io.LimitReader(a.std.in, maxDescriptor)); err != nil {
		return "", fmt.Errorf("containerd: descriptor: %w", err)
	}
	p, err := policy.Load(a.at(cmp.Or(v.policy, systemPolicy)))
	if err != nil {
		return "", err
	}
	ref, err := target.Parse(v.name)
	if err != nil {
		return "", err
	}
	if ref.IsLayout() {
		return "", fmt.Errorf("containerd: image %q: %w: expected one in a registry", v.name, target.ErrReference)
	}
	if _, err := target.ParseDigest(v.digest); err != nil {
		return "", fmt.Errorf("containerd: %w: %w", target.ErrReference, err)
	}
	image := ref.Repository() + "@" + v.digest
	verdict, err := sign.Verify(ctx, image, sign.VerifyOptions{Policy: p, Target: v.target()})
	if err != nil {
		return "", err
	}
	if verdict.Outcome != verify.Passed {
		return verdict.Reason(), &sign.Refused{Verdict: verdict}
	}
	return "verified by " + verdict.Policy, nil
}
