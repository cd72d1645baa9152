export class RTCPeerConnection {}
export class RTCSessionDescription {}
export class RTCIceCandidate {}
