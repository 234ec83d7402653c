import numpy as np
from PIL import Image, ImageFilter
def blur(base, sigma): return np.asarray(Image.fromarray(base).filter(ImageFilter.GaussianBlur(sigma)))
def blur_outside(base, blurred, coverage):
    c=coverage[...,None]
    return (base*c+blurred*(1-c)+0.5).astype(np.uint8)
def draw_ellipses(base, boxes, colour, thickness):
    h,w=base.shape[:2]; ys,xs=np.mgrid[:h,:w]+0.5
    out=[]
    for x1,y1,x2,y2 in boxes:
        cx,cy,a,b=(x1+x2)/2,(y1+y2)/2,max((x2-x1)/2,1),max((y2-y1)/2,1)
        u,v=(xs-cx)/a,(ys-cy)/b
        r=np.sqrt(u*u+v*v)+1e-6
        g=np.sqrt((u/a)**2+(v/b)**2)/r+1e-6
        d=np.abs(r-1)/g
        c=np.clip(thickness/2+0.5-d,0,1)[...,None]
        out.append((base*(1-c)+np.array(colour)*c+0.5).astype(np.uint8))
    return np.stack(out)
