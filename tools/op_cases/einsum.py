"""einsum equations."""


def cases(c):
    for equation, *shapes in [
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("ij,jk", (2, 3), (3, 4)),
        ("bij,bjk->bik", (2, 2, 3), (2, 3, 4)),
        ("B G H I D, B G H J D -> B G H I J", (1, 2, 2, 3, 4), (1, 2, 2, 5, 4)),
        ("bhwc,hkc->bhwk", (2, 3, 2, 4), (3, 5, 4)),
        ("bhwc,wkc->bhwk", (2, 3, 2, 4), (2, 5, 4)),
        ("ii->i", (3, 3)),
        ("ii", (3, 3)),
        ("ij->ji", (2, 3)),
        ("ij->", (2, 3)),
        ("ij->j", (2, 3)),
        ("i,j->ij", (2,), (3,)),
        ("i,i->", (3,), (3,)),
        ("...ij,...jk->...ik", (2, 1, 2, 3), (4, 3, 2)),
        ("...i->...", (2, 3, 4)),
        ("b...,b...->b", (2, 3, 4), (2, 3, 4)),
        ("ab,bc,cd->ad", (2, 3), (3, 4), (4, 2)),
        ("ijk,ijl,il->kl", (2, 3, 2), (2, 3, 4), (2, 4)),
        ("bn,anm,bm->ba", (2, 3), (4, 3, 2), (2, 2)),
        ("ij,ij->ij", (2, 3), (2, 3)),
        ("ij,ij->ij", (2, 1), (2, 3)),
    ]:
        c.add("einsum", equation, [c.randn(*s) for s in shapes], symbolic=equation[:2] != "ii")
    c.error("einsum", "ValueError", "ij,jk->ik", [c.randn(2, 3)])
    c.error("einsum", "ValueError", "ij,jk->ik", [c.randn(2, 3), c.randn(4, 2)])
    c.error("einsum", "ValueError", "ij->ik", [c.randn(2, 3)])
    c.error("einsum", "ValueError", "ijk->i", [c.randn(2, 3)])
    c.error("einsum", "ValueError", "i1->i", [c.randn(2, 3)])
