package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/admission"
)

// serveFlags are the flags of serve admission.
type serveFlags struct {
	policy, listen, cert, key, mode, secrets string
	timeout, ttl, refusalTTL                 time.Duration
	entries                                  int
	plainHTTP                                bool
}

func newServe(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Serve decisions and repositories", Long: `Serve decisions about images, or a repository of packages.`}
	cmd.AddCommand(newServeAdmission(a), newServeRepository(a))
	return cmd
}

func newServeAdmission(a *app) *cobra.Command {
	var s serveFlags
	cmd := &cobra.Command{
		Use:   "admission",
		Short: "Serve an admission webhook for Kubernetes",
		Long: `Serve a webhook that lets Kubernetes objects in only when every image they name
passes the policy: pods and what makes pods, with init and ephemeral containers
and image volumes.

/validate decides (ValidatingWebhookConfiguration), /mutate replaces tags by
digests (MutatingWebhookConfiguration), /healthz says that the server runs,
/metrics is for Prometheus. The policy and the certificate are read again when
they change. configs/kubernetes has manifests.`,
		Example: "  cairn serve admission --policy=policy.yaml --cert=tls.crt --cert-key=tls.key",
		Args:    args(0, 0, "none"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), a) },
	}
	f := cmd.Flags()
	f.StringVar(&s.policy, "policy", "", "policy `file`")
	f.StringVar(&s.listen, "listen", ":8443", "`address` to listen on")
	f.StringVar(&s.cert, "cert", "", "TLS certificate `file`, in PEM")
	f.StringVar(&s.key, "cert-key", "", "`file` with the certificate's key, in PEM")
	f.StringVar(&s.mode, "mode", string(admission.Enforce), "what becomes of objects that do not pass: enforce, warn or dry-run")
	f.StringVar(&s.secrets, "pull-secrets", "", "`directory` with image pull secrets: NAMESPACE/NAME/.dockerconfigjson or NAMESPACE/NAME.json")
	f.DurationVar(&s.timeout, "timeout", 8*time.Second, "the longest an answer may take; below the webhook's timeoutSeconds")
	f.DurationVar(&s.ttl, "cache-ttl", 10*time.Minute, "how long a decision is kept")
	f.DurationVar(&s.refusalTTL, "cache-refusal-ttl", 30*time.Second, "how long a refusal is kept")
	f.BoolVar(&s.plainHTTP, "unsafe-plain-http", false, "speak plain HTTP to registries")
	f.IntVar(&s.entries, "cache-entries", 10_000, "the most decisions that are kept")
	return cmd
}

func (s *serveFlags) check() error {
	switch {
	case s.policy == "":
		return usageError{errors.New("--policy: missing")}
	case s.cert == "" || s.key == "":
		return usageError{errors.New("--cert and --cert-key: missing: the API server speaks TLS only")}
	case !slices.Contains(admission.Modes, admission.Mode(s.mode)):
		return usageError{fmt.Errorf("--mode: found %q, expected enforce, warn or dry-run", s.mode)}
	case s.timeout <= 0 || s.ttl <= 0 || s.refusalTTL <= 0 || s.entries <= 0:
		return usageError{errors.New("--timeout, --cache-ttl, --cache-refusal-ttl, --cache-entries: expected more than nothing")}
	}
	return nil
}

func (s *serveFlags) run(ctx context.Context, a *app) error {
	if err := s.check(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(a.std.err, nil))
	decider, err := sign.NewDecider(a.at(s.policy), sign.VerifyOptions{Target: target.Options{Insecure: s.plainHTTP}}, log)
	if err != nil {
		return err
	}
	cert, err := admission.LoadCertificate(a.at(s.cert), a.at(s.key), log)
	if err != nil {
		return err
	}
	o := admission.Options{Mode: admission.Mode(s.mode), Timeout: s.timeout, TTL: s.ttl, RefusalTTL: s.refusalTTL,
		Entries: s.entries, Keychain: authn.DefaultKeychain, Log: log}
	if s.secrets != "" {
		o.Secrets = admission.Directory(a.at(s.secrets))
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.std.out, "listening on %s\n", listener.Addr())
	return serveTLS(ctx, listener, admission.New(decider, o), cert, log)
}

// serveTLS serves until the context ends, and lets answers be finished.
func serveTLS(ctx context.Context, l net.Listener, h http.Handler, cert *admission.Certificate, log *slog.Logger) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.Get}}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(last), ctx.Err())
}
