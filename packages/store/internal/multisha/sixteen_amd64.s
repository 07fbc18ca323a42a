#include "textflag.h"

// Sixteen streams at a time: element i of a register belongs to stream i.
// Z0 to Z15 hold the words of the message schedule, Z16 to Z23 the state a to h,
// Z24 to Z31 are for intermediate results.

// LOAD reads a stream's block, words in the processor's order. R8 points to the
// streams' pointers, DX is the position in all of them.
#define LOAD(I, W) \
	MOVQ      (I*8)(R8), AX \
	VMOVDQU32 (AX)(DX*1), W \
	VPSHUFB   Z31, W, W

// Transposing sixteen by sixteen words: by pairs of rows, by fours, then by
// parts of 128 bits, two times.
#define PAIRS(A, B, LOW, HIGH) \
	VPUNPCKLDQ B, A, LOW \
	VPUNPCKHDQ B, A, HIGH

#define FOURS(A, B, C, D, O0, O1, O2, O3) \
	VPUNPCKLQDQ C, A, O0 \
	VPUNPCKHQDQ C, A, O1 \
	VPUNPCKLQDQ D, B, O2 \
	VPUNPCKHQDQ D, B, O3

#define PARTS(A, B, C, D, V0, V1, V2, V3) \
	VSHUFI32X4 $0x88, B, A, V0 \
	VSHUFI32X4 $0xdd, B, A, V1 \
	VSHUFI32X4 $0x88, D, C, V2 \
	VSHUFI32X4 $0xdd, D, C, V3

#define WHOLES(V0, V1, V2, V3, W0, W1, W2, W3) \
	VSHUFI32X4 $0x88, V2, V0, W0 \
	VSHUFI32X4 $0x88, V3, V1, W1 \
	VSHUFI32X4 $0xdd, V2, V0, W2 \
	VSHUFI32X4 $0xdd, V3, V1, W3

// ROUND is one round of FIPS 180-4, section 6.2.2; the letters change places
// from round to round instead of moving. It leaves the new a in H and the new e
// in D. Truth tables: 0x96 is x^y^z, 0xca is x?y:z, 0xe8 the majority. What the
// next round waits for is the new e: it is summed up by itself, from the end of
// which only two additions depend on e. The order of the lines is the fastest that
// was found on a Zen 5, by trial.
#define ROUND(K, W, A, B, C, D, E, F, G, H) \
	VPADDD.BCST (K*4)(R9), W, Z24 \
	VPRORD      $25, E, Z27 \
	VPRORD      $11, E, Z26 \
	VPRORD      $6, E, Z25 \
	VMOVDQA32   E, Z28 \
	VPTERNLOGD  $0xca, G, F, Z28 \
	VPADDD      Z24, H, H \
	VPADDD      H, D, D \
	VPTERNLOGD  $0x96, Z27, Z26, Z25 \
	VMOVDQA32   A, Z26 \
	VPADDD      Z28, D, D \
	VPRORD      $22, A, Z31 \
	VPADDD      Z28, H, H \
	VPRORD      $13, A, Z30 \
	VPADDD      Z25, D, D \
	VPRORD      $2, A, Z29 \
	VPTERNLOGD  $0xe8, C, B, Z26 \
	VPADDD      Z25, H, H \
	VPTERNLOGD  $0x96, Z31, Z30, Z29 \
	VPADDD      Z26, H, H \
	VPADDD      Z29, H, H

// NEXT replaces word t of the schedule, W0, by word t+16, from words t+1, t+9
// and t+14.
#define NEXT(W0, W1, W9, W14) \
	VPSRLD     $3, W1, Z26 \
	VPRORD     $18, W1, Z25 \
	VPSRLD     $10, W14, Z29 \
	VPRORD     $17, W14, Z27 \
	VPRORD     $19, W14, Z28 \
	VPRORD     $7, W1, Z24 \
	VPTERNLOGD $0x96, Z26, Z25, Z24 \
	VPADDD     W9, W0, W0 \
	VPTERNLOGD $0x96, Z29, Z28, Z27 \
	VPADDD     Z24, W0, W0 \
	VPADDD     Z27, W0, W0

// func blocks16(s *states, p *[16]*byte, n int)
TEXT ·blocks16(SB), NOSPLIT, $0-24
	MOVQ s+0(FP), DI
	MOVQ p+8(FP), R8
	MOVQ n+16(FP), CX
	XORQ DX, DX

loop:
	VBROADCASTI32X4 ·bigEndian(SB), Z31
	LOAD(0, Z0)
	LOAD(1, Z1)
	LOAD(2, Z2)
	LOAD(3, Z3)
	LOAD(4, Z4)
	LOAD(5, Z5)
	LOAD(6, Z6)
	LOAD(7, Z7)
	LOAD(8, Z8)
	LOAD(9, Z9)
	LOAD(10, Z10)
	LOAD(11, Z11)
	LOAD(12, Z12)
	LOAD(13, Z13)
	LOAD(14, Z14)
	LOAD(15, Z15)
	PAIRS(Z0, Z1, Z16, Z17)
	PAIRS(Z2, Z3, Z18, Z19)
	PAIRS(Z4, Z5, Z20, Z21)
	PAIRS(Z6, Z7, Z22, Z23)
	PAIRS(Z8, Z9, Z24, Z25)
	PAIRS(Z10, Z11, Z26, Z27)
	PAIRS(Z12, Z13, Z28, Z29)
	PAIRS(Z14, Z15, Z30, Z31)
	FOURS(Z16, Z17, Z18, Z19, Z0, Z1, Z2, Z3)
	FOURS(Z20, Z21, Z22, Z23, Z4, Z5, Z6, Z7)
	FOURS(Z24, Z25, Z26, Z27, Z8, Z9, Z10, Z11)
	FOURS(Z28, Z29, Z30, Z31, Z12, Z13, Z14, Z15)
	PARTS(Z0, Z4, Z8, Z12, Z16, Z17, Z18, Z19)
	PARTS(Z1, Z5, Z9, Z13, Z20, Z21, Z22, Z23)
	PARTS(Z2, Z6, Z10, Z14, Z24, Z25, Z26, Z27)
	PARTS(Z3, Z7, Z11, Z15, Z28, Z29, Z30, Z31)
	WHOLES(Z16, Z17, Z18, Z19, Z0, Z4, Z8, Z12)
	WHOLES(Z20, Z21, Z22, Z23, Z1, Z5, Z9, Z13)
	WHOLES(Z24, Z25, Z26, Z27, Z2, Z6, Z10, Z14)
	WHOLES(Z28, Z29, Z30, Z31, Z3, Z7, Z11, Z15)

	VMOVDQU32 (0*64)(DI), Z16
	VMOVDQU32 (1*64)(DI), Z17
	VMOVDQU32 (2*64)(DI), Z18
	VMOVDQU32 (3*64)(DI), Z19
	VMOVDQU32 (4*64)(DI), Z20
	VMOVDQU32 (5*64)(DI), Z21
	VMOVDQU32 (6*64)(DI), Z22
	VMOVDQU32 (7*64)(DI), Z23
	LEAQ ·constants(SB), R9
	MOVQ $3, R10

sixteen:
	ROUND(0, Z0, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23)
	NEXT(Z0, Z1, Z9, Z14)
	ROUND(1, Z1, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22)
	NEXT(Z1, Z2, Z10, Z15)
	ROUND(2, Z2, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21)
	NEXT(Z2, Z3, Z11, Z0)
	ROUND(3, Z3, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20)
	NEXT(Z3, Z4, Z12, Z1)
	ROUND(4, Z4, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19)
	NEXT(Z4, Z5, Z13, Z2)
	ROUND(5, Z5, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18)
	NEXT(Z5, Z6, Z14, Z3)
	ROUND(6, Z6, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17)
	NEXT(Z6, Z7, Z15, Z4)
	ROUND(7, Z7, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)
	NEXT(Z7, Z8, Z0, Z5)
	ROUND(8, Z8, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23)
	NEXT(Z8, Z9, Z1, Z6)
	ROUND(9, Z9, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22)
	NEXT(Z9, Z10, Z2, Z7)
	ROUND(10, Z10, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21)
	NEXT(Z10, Z11, Z3, Z8)
	ROUND(11, Z11, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20)
	NEXT(Z11, Z12, Z4, Z9)
	ROUND(12, Z12, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19)
	NEXT(Z12, Z13, Z5, Z10)
	ROUND(13, Z13, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18)
	NEXT(Z13, Z14, Z6, Z11)
	ROUND(14, Z14, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17)
	NEXT(Z14, Z15, Z7, Z12)
	ROUND(15, Z15, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)
	NEXT(Z15, Z0, Z8, Z13)
	ADDQ $64, R9
	DECQ R10
	JNZ  sixteen

	ROUND(0, Z0, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23)
	ROUND(1, Z1, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22)
	ROUND(2, Z2, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21)
	ROUND(3, Z3, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20)
	ROUND(4, Z4, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19)
	ROUND(5, Z5, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18)
	ROUND(6, Z6, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17)
	ROUND(7, Z7, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)
	ROUND(8, Z8, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23)
	ROUND(9, Z9, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22)
	ROUND(10, Z10, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21)
	ROUND(11, Z11, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20)
	ROUND(12, Z12, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19)
	ROUND(13, Z13, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18)
	ROUND(14, Z14, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17)
	ROUND(15, Z15, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)

	VPADDD    (0*64)(DI), Z16, Z16
	VMOVDQU32 Z16, (0*64)(DI)
	VPADDD    (1*64)(DI), Z17, Z17
	VMOVDQU32 Z17, (1*64)(DI)
	VPADDD    (2*64)(DI), Z18, Z18
	VMOVDQU32 Z18, (2*64)(DI)
	VPADDD    (3*64)(DI), Z19, Z19
	VMOVDQU32 Z19, (3*64)(DI)
	VPADDD    (4*64)(DI), Z20, Z20
	VMOVDQU32 Z20, (4*64)(DI)
	VPADDD    (5*64)(DI), Z21, Z21
	VMOVDQU32 Z21, (5*64)(DI)
	VPADDD    (6*64)(DI), Z22, Z22
	VMOVDQU32 Z22, (6*64)(DI)
	VPADDD    (7*64)(DI), Z23, Z23
	VMOVDQU32 Z23, (7*64)(DI)
	ADDQ $64, DX
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET
