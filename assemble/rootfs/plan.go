package rootfs

import (
	"context"
	"fmt"
	"time"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
)

// CompatApko is the value of [Input.Compat] that reproduces apko's file tree,
// its quirks included: package files belong to root, directories lose setgid
// and sticky bits, device nodes and /etc/apko.json are made, the world file
// pins every package.
const CompatApko = "apko"

// Input is everything a tree is made from. Equal inputs give equal trees.
type Input struct {
	// Config is the image configuration; nil means an empty one.
	Config *config.Config
	Arch   string // apk's spelling
	// Packages are the packages of the solution in installation order: where
	// one replaces a file of another, the later wins.
	Packages []Package
	// World is the request as it was asked, for /etc/apk/world.
	World []apk.Dependency
	// RuntimeRepositories are the lines of /etc/apk/repositories.
	RuntimeRepositories []string
	// Keys are the public keys for /etc/apk/keys: file name → PEM.
	Keys map[string][]byte
	// Base is the image that the packages go on top of; nil for none.
	Base *Base
	// Created is the modification time of every entry that no package brings.
	Created time.Time
	// ReadFiles returns the contents of regular files of a package; pkg is the
	// position in Packages, members are those in its receipt's Entries. It is
	// called only for files whose content is needed and not in the receipt's
	// Contents (certificates, trust stores). May be nil when there are none. The
	// bytes are checked against the receipt.
	ReadFiles func(ctx context.Context, pkg int, members []int) ([][]byte, error)
	// Compat is empty or [CompatApko].
	Compat string
}

// builder is a tree in the making.
type builder struct {
	ctx     context.Context
	in      Input
	cfg     *config.Config
	created int64
	root    *node

	// kept[p][m] tells that member m of package p is in the tree, or for
	// directories that the package has it: what the installed database lists.
	kept [][]bool
	// targets[p] has, for each hard link of package p, the member with the
	// content.
	targets []map[int32]int32

	user     string // run-as, in numbers
	warnings []string

	ids *identities // of the image's accounts, once settled

	nodes  []node  // arena
	inodes []inode // arena
}

// Plan computes the tree. It is a pure function of its input: it reads nothing
// but through [Input.ReadFiles] and stops when ctx is done.
//
// Errors of the packages are *[ConflictError] where two of them cannot stand
// together, *[ConfigError] where the configuration is to blame.
func Plan(ctx context.Context, in Input) (*Tree, error) {
	b, err := newBuilder(ctx, in)
	if err != nil {
		return nil, err
	}
	steps := []func() error{
		b.mergeBase,
		b.mergePackages,
		b.baseDirectories,
		b.packageSettings,
		b.configFiles,
		b.apps,
		b.accounts,
		b.settleOwners,
		b.database,
		b.apkoConfig,
		b.configPaths,
		b.certificates,
		b.certificateSums,
		b.runtimeKeys,
		b.services,
		b.busyboxLinks,
		b.devices,
		b.linkerCache,
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.tree()
}

func newBuilder(ctx context.Context, in Input) (*builder, error) {
	if in.Compat != "" && in.Compat != CompatApko {
		return nil, fmt.Errorf("tree: compatibility %q: expected nothing or %q", in.Compat, CompatApko)
	}
	b := &builder{ctx: ctx, in: in, cfg: in.Config, created: in.Created.Unix()}
	if in.Created.IsZero() || b.compat() {
		b.created = 0
	}
	if b.cfg == nil {
		b.cfg = &config.Config{}
	}
	total := 64
	b.kept, b.targets = make([][]bool, len(in.Packages), len(in.Packages)+1), make([]map[int32]int32, len(in.Packages))
	for p := range in.Packages {
		if in.Packages[p].Receipt == nil {
			return nil, fmt.Errorf("tree: package %d: it has no receipt", p)
		}
		n := len(in.Packages[p].Receipt.Entries)
		if s := in.Packages[p].Slice; s != nil && len(s.Keep) != n {
			return nil, fmt.Errorf("tree: package %d: its slice is of %d members, expected %d", p, len(s.Keep), n)
		}
		if in.Packages[p].Slice != nil && b.compat() {
			return nil, fmt.Errorf("tree: compatibility %q: not possible with slices of packages", in.Compat)
		}
		b.kept[p] = make([]bool, n)
		total += n
	}
	if in.Base != nil {
		if b.compat() {
			return nil, fmt.Errorf("tree: compatibility %q: not possible on a base image", in.Compat)
		}
		n := len(in.Base.Receipt.Entries)
		b.kept = append(b.kept, make([]bool, n))
		total += n
	}
	b.nodes, b.inodes = make([]node, 0, total), make([]inode, 0, total)
	b.root = &node{ino: &inode{typ: apk.TypeDir, mode: 0o755, kids: map[string]*node{}, pkg: -1}, pkg: -1}
	return b, nil
}

// compat tells whether apko's quirks are wanted.
func (b *builder) compat() bool { return b.in.Compat == CompatApko }

// packageID returns "name-version" of package p.
func (b *builder) packageID(p int32) string {
	if b.onBase(p) {
		return "the base image"
	}
	return b.in.Packages[p].Receipt.Package.ID()
}

// member returns member m of package p.
func (b *builder) member(p, m int32) *apk.Entry { return &b.receipt(p).Entries[m] }
