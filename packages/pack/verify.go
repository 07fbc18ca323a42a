package pack

import (
	"bufio"
	"bytes"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// CheckReceipt checks what reading a package ([tree.OpenPackage]) leaves to the
// caller: that a known key signed it, unless unsigned, and that the diff ID which
// its control section may name is that of its data section.
func CheckReceipt(r *store.Receipt, unsigned bool) error {
	head, err := apk.ReadHead(bufio.NewReader(bytes.NewReader(append(bytes.Clone(r.Signature), r.Control...))), apk.Limits{})
	if err != nil {
		return err
	}
	id, err := DiffID(head.Files[".PKGINFO"])
	if err != nil {
		return fmt.Errorf(".PKGINFO: diff_id: %w (%w)", err, apk.ErrPkgInfo)
	}
	if !id.IsZero() && id != r.DiffID {
		return fmt.Errorf("diff ID is %s, .PKGINFO says %s: %w", r.DiffID, id, ErrDataHash)
	}
	if unsigned || r.SignedBy != "" {
		return nil
	}
	if len(head.Signatures) == 0 {
		return repository.ErrUnsigned
	}
	var found []string
	for _, s := range head.Signatures {
		found = append(found, s.KeyName)
	}
	return &repository.UnknownKeyError{Found: found}
}
