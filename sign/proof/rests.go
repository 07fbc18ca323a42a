package proof

import (
	"fmt"
	"slices"

	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
)

func (p *prover) notPinned(format string, args ...any) {
	p.report.NotPinned = append(p.report.NotPinned, fmt.Sprintf(format, args...))
}

func (p *prover) rests(format string, args ...any) {
	p.report.RestsOn = append(p.report.RestsOn, fmt.Sprintf(format, args...))
}

// checkConfig compares the kit's configuration, and the files that it is made
// from, with those that were given, one by one.
func (p *prover) checkConfig() error {
	given := p.options.Config
	for i := range given {
		switch {
		case i >= len(p.kit.Files):
			return rebuild.Findingf("configuration: %d files, expected %d", len(p.kit.Files), len(given))
		case i == 0 && p.report.Config != given[0]:
			return rebuild.Findingf("configuration %s, expected %s", p.report.Config, given[0])
		case p.kit.Files[i].SHA256 != given[i]:
			f := &p.kit.Files[i]
			return rebuild.Findingf("configuration: %s %.200q: %s, expected %s", f.Role, f.Path, f.SHA256, given[i])
		}
	}
	if n := len(p.kit.Files); len(given) > 0 && n > len(given) {
		f := &p.kit.Files[len(given)]
		return rebuild.Findingf("configuration: %s %.200q: not among the %d files of the one that was given", f.Role, f.Path, len(given))
	}
	return nil
}

// restsOn says what the verdict rests on, and what of that nobody gave.
func (p *prover) restsOn() {
	base := p.report.RestsOn // said along with its layers
	p.report.RestsOn = nil
	for _, k := range p.report.Keys {
		if k.Pinned {
			p.rests("key %s (%s), which was given, signing nothing but what its owner built", k.Name, k.Fingerprint)
		} else {
			p.rests("key %s (%s), which came with the kit: not pinned", k.Name, k.Fingerprint)
		}
	}
	if len(p.options.Keys) == 0 {
		p.notPinned("keys: those that came with the image were used\nhint: give --key with the keys that you trust")
	}
	p.report.RestsOn = append(p.report.RestsOn, base...)
	known := p.restsOnConfig()
	p.restsOnLock()
	if !known {
		p.restsOnContents()
	}
	if len(p.kit.Settings.Overrides) > 0 && len(p.options.Config) > 0 && p.options.Lock.IsZero() {
		p.notPinned("command line: what it changed in the configuration is as the image's own kit says\nhint: give --lockfile")
	}
	if p.options.Lock.IsZero() && len(p.options.Keys) > 0 {
		p.restsOnKeyring()
	}
}

// restsOnConfig: the configuration decides settings and paths. It reports whether
// somebody vouches for all of it: whoever gave it, or the lock that was made of it.
func (p *prover) restsOnConfig() (known bool) {
	more := ""
	if n := len(p.kit.Files) - 1; n > 0 {
		more = fmt.Sprintf(", with %d more files", n)
	}
	if n := len(p.kit.Settings.Overrides); n > 0 {
		more += ", changed on the command line"
	}
	const what = "settings, inline files and paths come from it"
	switch {
	case len(p.options.Config) > 0:
		p.rests("configuration %s%s, which was given: %s", p.report.Config, more, what)
		return true
	case !p.options.Lock.IsZero() && p.kit.Lock.Config.Checksum != "" && p.kit.Lock.Config.Checksum == p.config.ApkoChecksum:
		p.rests("configuration %s%s, which the lock that was given is of: %s", p.report.Config, more, what)
		return true
	}
	p.rests("configuration %s%s being the one that is wanted: %s", p.report.Config, more, what)
	return false
}

// restsOnContents: of what a configuration that nobody knows brings, which is no
// package's, a lock pins the files.
func (p *prover) restsOnContents() {
	if n := len(p.config.Files); n > 0 && p.options.Lock.IsZero() {
		p.notPinned("files: %d that the image's own kit brings are no package's\nhint: give --lockfile, or --config with the configuration that the image is to be from", n)
	}
	if n := len(p.config.App); n > 0 && p.options.Lock.IsZero() {
		p.notPinned("app: %d that the image's own kit brings are no package's\nhint: give --lockfile, or --config with the configuration that the image is to be from", n)
	}
	if c := p.config.Certificates; c != nil && len(c.Additional) > 0 {
		p.notPinned("certificates: %d that the image's own kit brings are no package's\nhint: give --config with the configuration that the image is to be from", len(c.Additional))
	}
}

// restsOnLock: the lock decides what is in, and pins the receipts.
func (p *prover) restsOnLock() {
	lock := p.report.Lock
	switch {
	case !p.options.Lock.IsZero() && p.pinsReceipts():
		p.rests("lock %s, which was given: it says which packages are in, and pins the receipts, which say what is in each", lock)
	case p.options.Full && p.unread == 0:
		p.rests("lock %s being the one that is wanted: it says which packages are in; what is in each was read from the packages", lock)
	default:
		p.rests("lock %s, which came with the kit, and its receipts, which say what is in each package: not pinned", lock)
		p.notPinned("receipts: what is in the packages is as the image's own kit says\nhint: give --lockfile with the lock that the image is to be from, or --full to read the packages")
	}
}

// restsOnKeyring: the keys in /etc/apk/keys are the lock's. Somebody who adds one
// has a say in what is installed into the running image.
func (p *prover) restsOnKeyring() {
	known := map[apk.SHA256]bool{}
	for _, k := range p.options.Keys {
		known[k.Fingerprint] = true
	}
	for _, k := range p.keyring() {
		if !known[k.Fingerprint] {
			known[k.Fingerprint] = true
			p.notPinned("keys: the image holds %.100q (%s), which was not given\nhint: give --lockfile, or the key with --key", k.Name, k.Fingerprint)
		}
	}
}

// keyring are the keys that can be in the image.
func (p *prover) keyring() []repository.Key {
	out := slices.Clone(p.kit.Keys)
	for _, l := range p.kit.Lock.Contents.Keyring {
		if k, err := repository.ParseKey(l.Name, []byte(l.Content)); l.Content != "" && err == nil {
			out = append(out, k)
		}
	}
	return out
}

// pinsReceipts tells whether the lock says of each package which receipt it has.
func (p *prover) pinsReceipts() bool {
	for i := range p.kit.Lock.Contents.Packages {
		if c := p.kit.Lock.Contents.Packages[i].Cairn; c == nil || c.Receipt.IsZero() {
			return false
		}
	}
	return true
}
