package kit

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Limits on what is read, in bytes, and on the number of parts.
const (
	maxManifest = 8 << 20
	maxSettings = 4 << 20
	maxFiles    = 256 << 20
	maxKeys     = 4 << 20
	maxHeads    = 256 << 20
	maxReceipts = 256 << 20 // as stored
	maxInflated = 1 << 30   // of the receipts
	maxIndex    = 300 << 20
	maxBase     = 256 << 20 // as stored
	maxBases    = 512 << 20 // the same, inflated
	maxApps     = 512 << 20 // of applications, as stored and inflated
	maxTotal    = 1 << 30
	maxParts    = 64
	maxMembers  = 100_000 // of one archive
	// What is small in a kit can be much work to plan with: these are far above
	// what images have, and what there can be of architectures and layers.
	maxArchs    = 16
	maxPackages = 20_000
	maxEntries  = 2 << 20   // of all receipts
	maxControl  = 128 << 20 // bytes of all control sections, inflated
	maxSigned   = 1 << 20   // bytes of one signature section, inflated
	maxSegments = 127       // of an architecture
)

// Reader is where an artifact is read from. What it gives has the digest and
// size that were asked for.
type Reader interface {
	// Manifest returns a manifest of at most 8 MiB.
	Manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error)
	// Blob returns a blob of at most limit bytes.
	Blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error)
}

// Read reads the kit with this manifest and checks that it belongs to subject
// and fits together: every file, key, receipt and control section is the one
// that the settings or the lock name. It does not say whether what it holds is
// to be trusted. Errors about the content wrap [ErrInvalid].
func Read(ctx context.Context, r Reader, digest, subject v1.Hash) (*Kit, error) {
	return ReadLocked(ctx, r, digest, subject, apk.SHA256{})
}

// ReadLocked is Read for a kit with a certain lock, given by the digest that the
// lock says of itself. Of a kit with another one nothing more is read, and the
// error wraps [ErrOtherLock].
func ReadLocked(ctx context.Context, r Reader, digest, subject v1.Hash, locked apk.SHA256) (*Kit, error) {
	raw, _, err := r.Manifest(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("kit %s: %w", digest, err)
	}
	k, err := read(ctx, r, raw, subject, locked)
	if err != nil {
		return nil, fmt.Errorf("kit %s: %w", digest, err)
	}
	return k, nil
}

// ErrOtherLock: the kit is of another lock than the one that was asked for.
var ErrOtherLock = errors.New("of another lock")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

func read(ctx context.Context, r Reader, raw []byte, subject v1.Hash, locked apk.SHA256) (*Kit, error) {
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	if m.Subject.Digest != subject {
		return nil, invalid("it is of image %s, expected %s", m.Subject.Digest, subject)
	}
	k := &Kit{Subject: *m.Subject}
	parts := map[types.MediaType][]byte{}
	if err := k.readLock(ctx, r, m, locked); err != nil {
		return nil, err
	}
	for _, d := range m.Layers {
		if d.MediaType == TypeLock {
			continue
		}
		b, err := r.Blob(ctx, d, limits[d.MediaType])
		if err != nil {
			return nil, err
		}
		if d.MediaType == TypeIndex {
			k.Indexes = append(k.Indexes, Index{URL: d.Annotations[AnnotationIndexURL], Arch: d.Annotations[AnnotationIndexArch], Raw: b})
			continue
		}
		parts[d.MediaType] = b
	}
	return k, k.parse(parts)
}

// readLock reads the lock, before everything else.
func (k *Kit) readLock(ctx context.Context, r Reader, m *manifest, locked apk.SHA256) error {
	i := slices.IndexFunc(m.Layers, func(d v1.Descriptor) bool { return d.MediaType == TypeLock })
	b, err := r.Blob(ctx, m.Layers[i], limits[TypeLock])
	if err != nil {
		return err
	}
	if k.Lock, err = lock.Parse(b); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var found apk.SHA256
	if k.Lock.Cairn != nil {
		found = k.Lock.Cairn.Digest
	}
	if !locked.IsZero() && found != locked {
		return fmt.Errorf("%w: lock %s, expected %s", ErrOtherLock, found, locked)
	}
	return nil
}

// limits are the parts that there can be, with the size in bytes of each. All
// but indexes and base images stand exactly once.
var limits = map[types.MediaType]int64{
	TypeSettings: maxSettings, TypeLock: lock.MaxSize, TypeFiles: maxFiles, TypeKeys: maxKeys,
	TypeHeads: maxHeads, TypeReceipts: maxReceipts, TypeIndex: maxIndex, TypeBase: maxBase,
	TypeApp: maxApps,
}

// IsKit tells whether a manifest says that it is one of a kit.
func IsKit(raw []byte) bool {
	var m struct {
		ArtifactType string `json:"artifactType"`
	}
	return json.Unmarshal(raw, &m) == nil && m.ArtifactType == ArtifactType
}

func parseManifest(raw []byte) (*manifest, error) {
	var m manifest
	if len(raw) > maxManifest {
		return nil, invalid("manifest of %d bytes, expected at most %d", len(raw), maxManifest)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, invalid("manifest: %w", err)
	}
	switch {
	case m.ArtifactType != ArtifactType:
		return nil, invalid("artifact type %.100q, expected %q", m.ArtifactType, ArtifactType)
	case m.MediaType != types.OCIManifestSchema1 || m.SchemaVersion != 2 || m.Config.MediaType != TypeEmpty:
		return nil, invalid("manifest of media type %.100q with a configuration of %.100q, expected %q and %q",
			m.MediaType, m.Config.MediaType, types.OCIManifestSchema1, TypeEmpty)
	case m.Subject == nil:
		return nil, invalid("manifest without a subject")
	case len(m.Layers) > maxParts:
		return nil, invalid("%d parts, expected at most %d", len(m.Layers), maxParts)
	}
	seen := map[types.MediaType]bool{}
	var total int64
	for _, d := range m.Layers {
		total += max(d.Size, 0)
		switch {
		case limits[d.MediaType] == 0:
			return nil, invalid("part of media type %.100q, which this version does not know", d.MediaType)
		case seen[d.MediaType] && d.MediaType != TypeIndex:
			return nil, invalid("two parts of media type %q", d.MediaType)
		case d.Size > limits[d.MediaType] || d.Size < 0:
			return nil, invalid("part %q of %d bytes, expected at most %d", d.MediaType, d.Size, limits[d.MediaType])
		case total > maxTotal:
			return nil, invalid("parts of more than %d bytes together", int64(maxTotal))
		}
		seen[d.MediaType] = true
	}
	for _, t := range []types.MediaType{TypeSettings, TypeLock, TypeFiles, TypeKeys, TypeHeads, TypeReceipts} {
		if !seen[t] {
			return nil, invalid("no part of media type %q", t)
		}
	}
	return &m, nil
}

func (k *Kit) parse(parts map[types.MediaType][]byte) error {
	if err := strictJSON(parts[TypeSettings], &k.Settings); err != nil {
		return invalid("settings: %w", err)
	}
	if k.Settings.Format < 1 || k.Settings.Format > Format {
		return invalid("format %d, this version reads up to %d: use a newer cairn", k.Settings.Format, Format)
	}
	for _, step := range []func() error{
		k.checkSizes,
		func() error { return k.parseFiles(parts[TypeFiles], parts[TypeApp]) },
		func() error { return k.parseKeys(parts[TypeKeys]) },
		func() error { return k.parsePackages(parts[TypeHeads], parts[TypeReceipts]) },
		k.checkIndexes,
		func() error { return k.parseBases(parts[TypeBase]) },
	} {
		if err := step(); err != nil {
			return invalid("%w", err)
		}
	}
	return nil
}

// checkSizes refuses what no image has and what would be much work to find out.
func (k *Kit) checkSizes() error {
	archs, packages := k.Settings.Architectures, k.Lock.Contents.Packages
	switch {
	case len(archs) > maxArchs:
		return fmt.Errorf("settings: %d architectures, expected at most %d", len(archs), maxArchs)
	case len(packages) > maxPackages:
		return fmt.Errorf("lock: %d packages, expected at most %d", len(packages), maxPackages)
	}
	if k.Lock.Cairn == nil {
		return nil
	}
	for _, l := range k.Lock.Cairn.Layers {
		if len(l.Segments) > maxSegments {
			return fmt.Errorf("lock: %d layers for %.20s, expected at most %d", len(l.Segments), l.Architecture, maxSegments)
		}
	}
	return nil
}

// strictJSON refuses fields that are not known and text behind the value.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text behind the JSON value")
	}
	return nil
}

// member is a file of an archive.
type member struct {
	name string
	b    []byte
}

// members reads an archive of regular files, each name once.
func members(r io.Reader, limit int64) ([]member, error) {
	limited := &io.LimitedReader{R: r, N: limit + 1}
	t := tar.NewReader(limited)
	var out []member
	var total int64
	seen := map[string]bool{}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		switch {
		case limited.N <= 0:
			return nil, fmt.Errorf("larger than %d bytes", limit)
		case err != nil:
			return nil, cut(err)
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%.200q: expected regular files only", h.Name)
		case seen[h.Name]:
			return nil, fmt.Errorf("%.200q stands twice", h.Name)
		case len(out) == maxMembers:
			return nil, fmt.Errorf("more than %d files", maxMembers)
		}
		// A sparse file can be much larger than what is stored of it.
		if total += h.Size; h.Size > limit || total > limit {
			return nil, fmt.Errorf("larger than %d bytes", limit)
		}
		seen[h.Name] = true
		b, err := io.ReadAll(t)
		if limited.N <= 0 {
			return nil, fmt.Errorf("larger than %d bytes", limit)
		}
		if err != nil {
			return nil, fmt.Errorf("%.200q: %w", h.Name, cut(err))
		}
		out = append(out, member{h.Name, b})
	}
}

func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("cut short: %w", err)
	}
	return err
}

func (k *Kit) parseFiles(b, apps []byte) error {
	list, err := members(bytes.NewReader(b), maxFiles)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	if apps != nil {
		z, err := gzip.NewReader(bytes.NewReader(apps))
		if err != nil {
			return fmt.Errorf("applications: %w", cut(err))
		}
		more, err := members(z, maxApps)
		if err != nil {
			return fmt.Errorf("applications: %w", err)
		}
		list = append(list, more...)
	}
	have := map[string][]byte{}
	for _, m := range list {
		have[m.name] = m.b
	}
	used := map[string]bool{}
	for i, n := range k.Settings.Files {
		b, ok := have[n.SHA256.Hex()]
		switch {
		case !ok:
			return fmt.Errorf("file %.200q: missing", n.Path)
		case sha256.Sum256(b) != n.SHA256 || int64(len(b)) != n.Size:
			return fmt.Errorf("file %.200q: content has sha256 %s, expected %s", n.Path, apk.SHA256(sha256.Sum256(b)).Hex(), n.SHA256.Hex())
		case (i == 0) != (n.Role == RoleConfig) || i == 0 && n.Path != k.Settings.Config:
			return fmt.Errorf("file %.200q: found as %q, expected the configuration first and once", n.Path, n.Role)
		}
		used[n.SHA256.Hex()] = true
		k.Files = append(k.Files, File{n, b})
	}
	if len(k.Files) == 0 || len(used) != len(have) {
		return fmt.Errorf("files: %d are there, %d are named", len(have), len(used))
	}
	return nil
}

func (k *Kit) parseKeys(b []byte) error {
	list, err := members(bytes.NewReader(b), maxKeys)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for _, m := range list {
		fingerprint, name, _ := strings.Cut(m.name, "/")
		key, err := repository.ParseKey(name, m.b)
		if err != nil {
			return err
		}
		if key.Fingerprint.Hex() != fingerprint {
			return fmt.Errorf("key %s: fingerprint is %s, expected %.64s", key.Name, key.Fingerprint.Hex(), fingerprint)
		}
		k.Keys = append(k.Keys, key)
	}
	return nil
}

func (k *Kit) parsePackages(heads, receipts []byte) error {
	headList, err := members(bytes.NewReader(heads), maxHeads)
	if err != nil {
		return fmt.Errorf("control sections: %w", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(receipts))
	if err != nil {
		return fmt.Errorf("receipts: %w", cut(err))
	}
	list, err := members(z, maxInflated)
	if err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	locked := k.locked()
	if len(list) != len(locked) || len(headList) != len(locked) {
		return fmt.Errorf("%d receipts and %d control sections for %d packages", len(list), len(headList), len(locked))
	}
	var entries int
	var control int64
	for i, p := range locked {
		if err := k.addPackage(p, headList[i], list[i]); err != nil {
			return fmt.Errorf("package %s-%s (%s): %w", p.Name, p.Version, p.Architecture, err)
		}
		r := k.Packages[i].Receipt
		entries += len(r.Entries)
		control += inflatedSize(r.Control)
		switch {
		case entries > maxEntries:
			return fmt.Errorf("receipts of more than %d files", maxEntries)
		case control > maxControl:
			return fmt.Errorf("control sections of more than %d bytes together", maxControl)
		}
	}
	return nil
}

// inflatedSize is what a gzip member that was read says of itself (RFC 1952, ISIZE);
// reading it compared the two.
func inflatedSize(member []byte) int64 {
	return int64(binary.LittleEndian.Uint32(member[len(member)-4:]))
}

// checkSignature refuses a signature section that is much work to inflate.
func checkSignature(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(z, maxSigned+1))
	if n > maxSigned {
		return fmt.Errorf("signature of more than %d bytes", maxSigned)
	}
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return nil
}

// locked are the packages of the lock that the image was built from.
func (k *Kit) locked() []*lock.Package {
	var out []*lock.Package
	for i := range k.Lock.Contents.Packages {
		if p := &k.Lock.Contents.Packages[i]; slices.Contains(k.Settings.Architectures, p.Architecture) {
			out = append(out, p)
		}
	}
	return out
}

func (k *Kit) addPackage(p *lock.Package, head, receipt member) error {
	name := p.Architecture + "/" + p.Name + "-" + p.Version
	if head.name != name+".head" || receipt.name != name+".receipt" {
		return fmt.Errorf("found %.200q and %.200q", head.name, receipt.name)
	}
	r, err := store.ParseReceipt(receipt.b)
	if err != nil {
		return err
	}
	if p.Cairn != nil && !p.Cairn.Receipt.IsZero() && p.Cairn.Receipt != r.Digest() {
		return fmt.Errorf("receipt %s, the lock has %s", r.Digest(), p.Cairn.Receipt)
	}
	if r.Package.Checksum != p.Checksum {
		return fmt.Errorf("control section %s, the lock has %s", r.Package.Checksum, p.Checksum)
	}
	if err := checkSignature(r.Signature); err != nil {
		return err
	}
	own := Package{Arch: p.Architecture, Receipt: r}
	if !bytes.Equal(own.Head(), head.b) {
		return errors.New("signature and control section differ from those in the receipt")
	}
	k.Packages = append(k.Packages, own)
	return nil
}

// checkIndexes holds the indexes against the lock.
func (k *Kit) checkIndexes() error {
	for _, ix := range k.Indexes {
		sum := apk.SHA256(sha256.Sum256(ix.Raw))
		if k.Lock.Cairn == nil || !slices.ContainsFunc(k.Lock.Cairn.Indexes, func(l lock.Index) bool {
			return l.URL == ix.URL && l.Architecture == ix.Arch && l.SHA256 == sum
		}) {
			return fmt.Errorf("index %.200q (%.20q): %s is not in the lock", ix.URL, ix.Arch, sum)
		}
	}
	return nil
}
