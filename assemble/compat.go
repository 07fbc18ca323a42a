package assemble

import (
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
)

// What apko 1.2 writes into its images, byte for byte.
const (
	compatApko        = "apko"
	apkoAuthor        = "github.com/chainguard-dev/apko"
	apkoHistory       = "apko"
	apkoSingleComment = "This is an apko single-layer image"
	annotationTitle   = "org.opencontainers.image.title"
	annotationVendor  = "org.opencontainers.image.vendor"
)

// asApko gives an image the words of apko's. They are not in the file tree or
// in the layers, whose rooms have their own compatibility.
func asApko(in *image.Input) {
	in.Author, in.HistoryAuthor, in.CreatedBy = apkoAuthor, apkoHistory, apkoHistory
	comment := ""
	if len(in.Layers) == 1 {
		comment = apkoSingleComment
	}
	title, hasTitle := in.Settings.Annotations[annotationTitle]
	vendor, hasVendor := in.Settings.Annotations[annotationVendor]
	if hasTitle && hasVendor {
		comment = title + " by " + vendor
	}
	for i := range in.Comments {
		in.Comments[i] = comment
	}
}

// apkoLayers tells whether the layers are to be apko's: one, unless the
// configuration asks for more, which is done in cairn's way in either case.
func (j *job) apkoLayers() bool { return j.compat == compatApko && !layered(j.cfg) }

// layered tells whether the configuration says how to divide the image.
func layered(cfg *config.Config) bool {
	l := cfg.Layering
	return l != nil && (l.Strategy != "" || l.Budget != 0)
}
