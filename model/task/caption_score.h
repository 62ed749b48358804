/* Scores of captions against references: BLEU-1..4, CIDEr, ROUGE-L, with the arithmetic of the COCO
 * caption scorer (github.com/salaniz/pycocoevalcap: Bleu(4), Cider(), Rouge()), its constants for
 * empty captions included. What that code calls CIDEr is CIDEr-D (Vedantam et al., 2015, eq. 4:
 * clipped counts, a length penalty of sigma 6, times 10); so is what papers report, and so is this.
 *
 * Words are what stands between white space: raw text goes through caption_tokenize first.
 * METEOR and SPICE, which need dictionaries and a parser, are left out. */
#ifndef CDCCA_CAPTION_SCORE_H
#define CDCCA_CAPTION_SCORE_H

#include "api/base/buf.h"

enum { CAPTION_ORDERS = 4, CAPTION_WORDS = 1024 };

/* Images with one candidate and its references each. Zero-initialise; caption_corpus_free. */
struct caption_corpus {
    struct buf text;   /* candidate, reference, ...: each ends with a NUL */
    struct buf images; /* struct caption_image (count) */
    int count;
};

struct caption_scores {
    double bleu[CAPTION_ORDERS]; /* 0..1; of a corpus: counts and lengths of all images together */
    double cider;                /* 0..10; of a corpus: mean over the images */
    double rouge_l;              /* 0..1; likewise */
};

/* Adds an image; texts are copied. STATUS_MALFORMED without references; STATUS_TOO_LARGE: a caption
 * over CAPTION_WORDS words, or more than fits (1 GiB of text). A failed call adds nothing. */
enum status caption_corpus_add(struct caption_corpus *c, const char *candidate,
                               const char *const *references, int n, struct err *err);
void caption_corpus_free(struct caption_corpus *c);

/* each: (count) scores image by image in the order they were added, or NULL. The document
 * frequencies of CIDEr are those of the corpus' references, so an image's CIDEr depends on the
 * others; of a single image it is 0. STATUS_MALFORMED: an empty corpus. */
enum status caption_score(const struct caption_corpus *c, struct caption_scores *total,
                          struct caption_scores *each, struct err *err);

#endif
